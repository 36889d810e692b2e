"""What runs is registered; what runs without end, takes too much or writes too much is ended."""

import sys
import time
from pathlib import Path

import pytest

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.function_calls.reading import read_answer
from mlx_probe.lab.rewards import REWARDS
from mlx_probe.lab.rewards.attempt import make_attempt
from mlx_probe.lab.rewards.sandbox import Sandbox

TABLE = """
import os, sys

def loop():
    while True:
        pass

def stubborn():
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass

def memory(size):
    return len(bytearray(size))

def grow():
    parts = []
    while True:
        parts.append(bytearray(1 << 20))

def output(size):
    return "x" * size

def endless():
    value = []
    value.append(value)
    return value

def printing():
    print("x" * 10_000_000)
    print('{"kind": "ok", "value": "forged"}', flush=True)
    os.write(1, b"{}\\n")
    return "printed"

def reading():
    return sys.stdin.read()

def leave():
    sys.exit(3)

def drop():
    os._exit(0)

def kill():
    os.kill(os.getpid(), 9)

def raising():
    raise ValueError("no")

def deep(n=10**6):
    return deep(n)

def writing(path):
    with open(path, "w") as file:
        file.write("x")
    return True

def no_json():
    return {1, 2}

def count(seen=[]):
    seen.append(1)
    return len(seen)

def environment():
    return sorted(os.environ)

def echo(**values):
    return values

TABLE = {name: value for name, value in dict(globals()).items() if callable(value)}
NUMBER = 3
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("functions") / "functions.py"
    path.write_text(TABLE)
    return path


@pytest.fixture(scope="module")
def sandbox(path):
    with Sandbox(f"{path}:TABLE", seconds=0.5, memory=64 << 20, output=1000) as sandbox:
        yield sandbox


OUTCOMES = {
    "an endless loop": (Call("loop", {}), "time", "it took longer than 0.5 s"),
    "one that catches everything": (Call("stubborn", {}), "time", "longer than"),
    "a large array": (Call("memory", {"size": 10**9}), "memory", "too much memory"),
    "memory without end": (Call("grow", {}), "memory", "too much memory"),
    "a huge output": (Call("output", {"size": 10**7}), "output", "longer than 1000 bytes"),
    "an output without end": (Call("endless", {}), "error", "Circular"),
    "leaves": (Call("leave", {}), "error", "SystemExit: 3"),
    "drops out": (Call("drop", {}), "error", "its process ended"),
    "kills itself": (Call("kill", {}), "error", "its process ended"),
    "raises": (Call("raising", {}), "error", "ValueError: no"),
    "recurses": (Call("deep", {}), "error", "RecursionError"),
    "other arguments": (Call("loop", {"a": 1}), "error", "unexpected keyword"),
    "no JSON": (Call("no_json", {}), "error", "not JSON serializable"),
    "not registered": (Call("nothing", {}), "unknown", "nothing is not registered"),
    "a builtin": (Call("eval", {"source": "1"}), "unknown", "not registered"),
    "a module's": (Call("os.system", {"command": "true"}), "unknown", "not registered"),
    "an attribute": (Call("loop.__globals__", {}), "unknown", "not registered"),
    "a dunder": (Call("__import__", {"name": "os"}), "unknown", "not registered"),
    "no arguments of JSON": (Call("echo", {"a": object()}), "error", "no JSON"),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_what_goes_wrong(sandbox, case):
    call, kind, text = OUTCOMES[case]
    outcome = sandbox.run(call)
    assert (outcome.kind, outcome.value) == (kind, None)
    assert text in outcome.text
    # The next call finds everything as it was.
    assert sandbox.run(Call("echo", {"case": case})).value == {"case": case}


def test_results(sandbox):
    arguments = {"a": [1, 2.5, None, True], "b": {"é": "😀"}}
    assert sandbox.run(Call("echo", arguments)).value == arguments
    assert sandbox.run(Call("output", {"size": 998})).value == "x" * 998
    assert sandbox.run(Call("printing", {})).value == "printed"
    assert sandbox.run(Call("reading", {})).value == ""
    assert not {"HOME", "PATH", "USER"} & set(sandbox.run(Call("environment", {})).value)


def test_no_call_leaves_anything_behind(sandbox):
    assert sandbox.run(Call("count", {})).value == 1
    sandbox._kept.clear()
    assert sandbox.run(Call("count", {})).value == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on files is tried on Linux")
def test_no_file_is_written(sandbox, tmp_path):
    target = tmp_path / "file"
    assert sandbox.run(Call("writing", {"path": str(target)})).kind == "error"
    assert not target.exists() or target.read_bytes() == b""


def test_a_process_that_is_gone_is_started_again(path):
    with Sandbox(f"{path}:TABLE") as sandbox:
        sandbox._process.kill()
        assert sandbox.run(Call("echo", {"a": 1})).value == {"a": 1}
    assert sandbox._process is None


def test_what_a_model_writes_is_never_evaluated(tmp_path):
    """Text that would act if it were run; the answer is read, and nothing of it is executed."""
    trace = tmp_path / "trace"
    harm = f"open({str(trace)!r}, 'w')"
    texts = (
        f"[add(a={harm}, b=1)]",
        f"[add(a=1, b=__import__('os').system('touch {trace}'))]",
        f'{{"name": "add", "arguments": {{"a": "{harm}", "b": "x"}}}}',
        f"[(lambda: {harm})()]",
        f"import os\nos.system('touch {trace}')",
        f'{{"name": "{harm}", "arguments": {{}}}}',
        '{"name": "add.__globals__", "arguments": {}}',
        f"[add(a=f'{{{harm}}}', b=1)]",
    )
    with Sandbox() as sandbox:
        for text in texts:
            for call in read_answer(text).calls:
                sandbox.run(call)
            REWARDS["execution"].score(make_attempt(text, [], [Call("add", {"a": 1, "b": 2})]))
    assert not trace.exists()


def test_the_execution_reward(path):
    wanted = Call("add", {"a": 2, "b": 3})
    with Sandbox(seconds=0.5) as sandbox:
        assert "math.factorial" in sandbox.functions

        def reward(text, expected):
            return REWARDS["execution"].score(make_attempt(text, [], [expected], sandbox.run))

        assert reward('{"name": "add", "arguments": {"a": 3, "b": 2.0}}', wanted) == 1
        assert reward('{"name": "add", "arguments": {"a": 3, "b": 3}}', wanted) == 0
        assert reward('{"name": "add", "arguments": {"a": "2", "b": 3}}', wanted) == 0
        # 5 as well, and of another function.
        assert reward('{"name": "subtract", "arguments": {"a": 7, "b": 2}}', wanted) == 0
        factorial = Call("math.factorial", {"number": 5})
        loop = '{"name": "math.factorial", "arguments": {"number": 1000000000}}'
        assert reward(loop, factorial) == 0
        assert reward("[math.factorial(number=5)]", factorial) == 1


def test_a_thousand_calls_take_seconds(sandbox):
    start = time.perf_counter()
    for number in range(200):
        assert sandbox.run(Call("echo", {"number": number})).kind == "ok"
    assert time.perf_counter() - start < 10
    start = time.perf_counter()
    for _ in range(1000):
        sandbox.run(Call("echo", {"number": 0}))  # known already
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("nothing", "'nothing' names no table"),
        ("no_such_module:TABLE", "cannot be imported: ModuleNotFoundError"),
        ("{path}:NOTHING", "AttributeError"),
        ("{path}:NUMBER", "is no mapping of names to functions"),
        ("{path}.none.py:TABLE", "cannot be imported: FileNotFoundError"),
    ],
)
def test_tables_that_are_none(path, table, message):
    with pytest.raises(ConfigError, match=message):
        Sandbox(table.format(path=path))


def test_a_module_is_found_where_python_finds_it(tmp_path, monkeypatch):
    (tmp_path / "own_functions.py").write_text("TABLE = {'one': lambda: 1}")
    monkeypatch.syspath_prepend(str(tmp_path))
    with Sandbox("own_functions:TABLE") as sandbox:
        assert sandbox.run(Call("one", {})).value == 1


def test_the_worker_imports_nothing_of_the_package():
    from mlx_probe.lab.rewards import functions, worker

    for module in (functions, worker):
        assert "from mlx_probe" not in Path(module.__file__).read_text("utf-8")
