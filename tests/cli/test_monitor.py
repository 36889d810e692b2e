"""`mlx-probe monitor`, and commands under rules, as processes of their own."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from models import invoke, refuses
from project import CONFIGS
from terminal import TIMEOUT, Terminal
from tinymodel import COMMAND, comparable, heed_ctrl_c, ignore_ctrl_c, refused, run

import mlx_probe
from mlx_probe.core.errors import Stopped
from mlx_probe.runs.monitor.jobs import JobRecord, jobs_folder, register, started_at
from mlx_probe.runs.monitor.rules import DEFAULT_RULES, parse_rule
from mlx_probe.runs.monitor.samples import find_recording, read_recording

pytestmark = pytest.mark.slow

# Broken from the beginning, and for good: such a job waits.
HELD = ("--alert", "memory above 0.001% pause")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))


class Held:
    """`mlx-probe analyze` that waits at its gate."""

    def __init__(self, tiny, out, *more, preexec_fn=heed_ctrl_c):
        command = ["analyze", tiny, "--metrics", "full", "--backend", "numpy", "--out", out]
        self.command, self.out = command, out
        self.process = subprocess.Popen(
            [COMMAND, *map(str, command), *(more or HELD)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=preexec_fn,
        )
        self.wait_for_samples(1)

    def wait_for_samples(self, count):
        deadline = time.monotonic() + TIMEOUT
        while True:
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self.process.stderr.read()
            lines = find_recording(self.out) if self.out.exists() else None
            if lines is not None and len(read_recording(lines).samples) >= count:
                # Told of a moment before the first sample.
                return
            time.sleep(0.02)

    def end(self, number):
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=TIMEOUT)
        return said


@pytest.fixture
def held(tiny, tmp_path):
    job = Held(tiny, tmp_path / "out")
    yield job
    job.process.kill()
    job.process.communicate()


def test_ctrl_c_works_while_a_run_is_paused(held):
    held.wait_for_samples(2)
    said = held.end(signal.SIGINT)
    assert held.process.returncode == 130
    assert "paused: memory at" in said
    assert "0 of 17 rows are saved in" in said
    assert "Traceback" not in said
    assert list(jobs_folder().iterdir()) == []


def test_a_background_job_of_a_script_ignores_ctrl_c(tiny, whole, tmp_path):
    """As the shell that started it asks. `kill` ends it, and the same command goes on."""
    job = Held(tiny, tmp_path / "out", preexec_fn=ignore_ctrl_c)
    job.process.send_signal(signal.SIGINT)
    job.wait_for_samples(3)
    job.end(signal.SIGTERM)
    assert job.process.returncode == 128 + signal.SIGTERM
    again = run(*job.command)
    assert again.returncode == 0, again.stderr
    frame = mlx_probe.load_run(job.out)
    pd.testing.assert_frame_equal(comparable(frame), comparable(whole.load()))


def test_kill_9_keeps_the_samples_and_the_next_process_goes_on_with_them(held, whole):
    held.wait_for_samples(2)
    held.end(signal.SIGKILL)
    assert held.process.returncode == -signal.SIGKILL
    before = read_recording(find_recording(held.out)).samples
    assert len(before) >= 2
    shown = invoke("monitor", held.out, COLUMNS="80")
    assert shown.exit_code == 0, shown.output
    assert "not finished" in shown.stdout
    # What it left behind is nobody's.
    refuses(invoke("monitor"), "no job is running")
    assert list(jobs_folder().iterdir()) == []
    again = run(*held.command)
    assert again.returncode == 0, again.stderr
    after = read_recording(held.out / "monitor.parquet").samples
    assert after[: len(before)] == before
    assert {sample.session for sample in after} == {0, 1}
    assert find_recording(held.out) == held.out / "monitor.parquet"
    frame = mlx_probe.load_run(held.out)
    pd.testing.assert_frame_equal(comparable(frame), comparable(whole.load()))


def test_a_stop_is_a_message_and_an_exit_code(tiny, tmp_path):
    out = tmp_path / "out"
    command = ("analyze", tiny, "--out", out, "--backend", "numpy")
    result = run(*command, "--alert", "memory above 0.001% stop")
    said = refused(
        result,
        'stopped by the rule "memory above 0.001% stop"',
        "run the same command again to go on from there",
    )
    assert "stopping: memory at" in said
    assert result.returncode == Stopped.exit_code
    assert invoke(*command).exit_code == 0


def test_a_comparison_that_waits_says_so(tiny, tmp_path):
    command = ("compare", tiny, tiny, "--out", tmp_path)
    said = refused(run(*command, "--alert", "process above 1MB stop"), "process above 1MB stop")
    assert "stopping: process at" in said
    result = invoke(*command, "--alert", "process above 1MB warn")
    assert result.exit_code == 0
    assert result.stderr.count("process at") == 1
    quiet = invoke(*command, "--alert", "process above 1MB warn", "-q")
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_a_running_job_is_shown_once_and_as_json(held):
    held.wait_for_samples(2)
    for target in ((), (held.process.pid,), (held.out,)):
        shown = invoke("monitor", *target, "--once", COLUMNS="80")
        assert shown.exit_code == 0, shown.output
        lines = shown.stdout.splitlines()
        assert lines[0].startswith("mlx-probe analyze  tiny")
        assert "paused" in lines[0]
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 80
        assert "memory above 0.001% pause: " in shown.stdout
    with subprocess.Popen(
        [COMMAND, "monitor", "--json"], stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE
    ) as following:
        first = json.loads(following.stdout.readline())
        assert (first["state"], first["session"]) == ("paused", 0)
        assert json.loads(following.stdout.readline())["seconds"] > first["seconds"]
        held.end(signal.SIGKILL)
        # Not `communicate`: it loses lines that `readline` has taken from the pipe already.
        assert all(json.loads(line)["state"] == "paused" for line in following.stdout)
        assert (following.wait(TIMEOUT), following.stderr.read()) == (0, "")


def test_a_finished_run_is_shown(whole, tmp_path):
    for target in (whole.folder, whole.meta_path, whole.folder / "params.csv"):
        shown = invoke("monitor", target, COLUMNS="100")
        assert shown.exit_code == 0, shown.output
        assert "finished" in shown.stdout.splitlines()[0]
        assert "on average" in shown.stdout
    told = invoke("monitor", whole.folder, "--json").stdout.splitlines()
    assert len(told) == whole.meta["monitor"]["samples"]


def test_what_cannot_be_shown(whole, tmp_path):
    refuses(invoke("monitor"), "no job is running")
    refuses(invoke("monitor", "1"), "process 1 is no running job")
    refuses(invoke("monitor", tmp_path / "none"), "does not exist")
    refuses(invoke("monitor", tmp_path), "has no samples")
    (tmp_path / "monitor.parquet").write_bytes(b"PAR1nonsense")
    refuses(invoke("monitor", tmp_path), "monitor.parquet")


def frames(text):
    """What was drawn on the alternate screen, frame by frame, without colours."""
    bare = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", lambda m: "\f" if m[0] == "\x1b[H" else "", text)
    return [frame.replace("\r", "").split("\n") for frame in bare.split("\f")[1:]]


@pytest.mark.parametrize("leave", ["q", "\x03"], ids=["q", "ctrl-c"])
def test_the_dashboard_on_a_terminal_is_left_and_the_job_goes_on(held, leave):
    terminal = Terminal(80, 24, COMMAND, "monitor")
    terminal.read_until(lambda text: text.count("q leaves") >= 3)
    terminal.resize(120, 40)
    terminal.read_until(lambda text: any(len(frame) == 40 for frame in frames(text)))
    terminal.press(leave)
    assert terminal.end() == 0
    assert held.process.poll() is None
    # The alternate screen is entered and left, the cursor is back.
    assert terminal.text.count("\x1b[?1049h") == terminal.text.count("\x1b[?1049l") == 1
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")
    whole = [frame for frame in frames(terminal.text) if len(frame) == 24]
    assert whole
    assert all(max(map(len, frame)) <= 80 for frame in whole)
    assert "paused" in whole[0][0]


def test_a_job_that_is_killed_ends_the_dashboard(held):
    terminal = Terminal(80, 24, COMMAND, "monitor", held.process.pid)
    terminal.read_until(lambda text: "q leaves" in text)
    held.end(signal.SIGKILL)
    assert terminal.end() == 0
    assert "not finished" in terminal.text.split("\x1b[?1049l")[1]


def test_several_jobs_are_listed_harmlessly(held):
    record = json.loads(next(jobs_folder().glob("*.json")).read_text())
    record |= {"pid": os.getpid(), "process_started": started_at(), "title": "\x1b[2Jevil"}
    file = register(JobRecord.from_json(record))
    said = refuses(invoke("monitor"), "2 jobs are running", str(held.process.pid), str(os.getpid()))
    assert "\x1b" not in said
    file.unlink()


def rules_of(*arguments, **environment):
    """The rules that a command would work under, from its metadata."""
    out = Path(os.environ["MLX_PROBE_CACHE"]).parent / "rules"
    command = ["analyze", *arguments, "--out", out, "--no-resume", "-q", "--backend", "numpy"]
    result = invoke(*command, **environment)
    assert result.exit_code == 0, result.output
    return json.loads((out / "run_meta.json").read_text("utf-8"))["monitor"]["rules"]


def test_where_rules_come_from(tiny, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("alert: [memory above 99% warn, 'disk below 1KB stop']\n")
    in_file = ["memory above 99% warn", "disk below 1KB stop"]
    variable = {"MLX_PROBE_ANALYZE_ALERT": "swap growing warn;cpu above 100% warn"}
    assert rules_of(tiny) == list(DEFAULT_RULES)
    assert rules_of(tiny, "--config", config) == in_file
    assert rules_of(tiny, "--config", config, **variable) == [
        "swap growing warn",
        "cpu above 100% warn",
    ]
    option = ("--alert", "disk below 1B warn", "--alert", "disk below 1B warn")
    assert rules_of(tiny, "--config", config, *option, **variable) == ["disk below 1B warn"]
    config.write_text("alert: []\n")
    assert rules_of(tiny, "--config", config) == []


@pytest.mark.parametrize("command", ["analyze", "compare"])
def test_wrong_rules_and_ports_are_refused(tiny, tmp_path, command):
    models = [tiny] * (1 + (command == "compare"))
    out = tmp_path / "out"
    for value, says in [
        ("memroy above 90% warn", "Did you mean 'memory'?"),
        ("bandwidth below 20% pause", "cannot pause"),
        ("\x1b[2J", "is not a rule"),
    ]:
        result = invoke(command, *models, "--out", out, "--alert", value)
        assert "\x1b" not in refuses(result, says, code=2)
    refuses(invoke(command, *models, "--out", out, "--prometheus", "70000"), "70000", code=2)
    assert not out.exists()


def test_the_guarded_configuration_is_valid():
    entries = yaml.safe_load((CONFIGS / "guarded.yaml").read_text("utf-8"))
    actions = {parse_rule(text).action for text in entries["alert"]}
    assert actions == {"warn", "pause", "stop"}
