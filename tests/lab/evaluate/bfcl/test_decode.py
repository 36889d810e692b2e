"""Answers of BFCL's prompting mode, read as the leaderboard reads them; nothing is run."""

import time

import pytest

from mlx_probe.lab.evaluate.bfcl import decode_prompted

# Verdicts of bfcl-eval 2026.3.23; None: it cannot read them.
READ = [
    ("[f(a=1)]", [{"f": {"a": 1}}]),
    ("f(a=1)", [{"f": {"a": 1}}]),
    ("f(a=1), g(b=2)", [{"f": {"a": 1}}, {"g": {"b": 2}}]),
    ("```\n[f(a=1)]\n```", [{"f": {"a": 1}}]),
    ("```python\n[f(a=1)]```", None),
    ("'[f(a=1)]'", None),
    ("[f(1)]", [{"f": {}}]),
    ("[f(1, a=2)]", [{"f": {"a": 2}}]),
    ("[a.b.c(d=1)]", [{"a.b.c": {"d": 1}}]),
    ("[f(a=-1)]", [{"f": {"a": -1}}]),
    ("[f(a=+5)]", [{"f": {"a": -5}}]),
    ("[f(a=1+2*3)]", [{"f": {"a": 7}}]),
    ("[f(a='x'*3)]", [{"f": {"a": "xxx"}}]),
    ("[f(a=1/0)]", None),
    ("[f(a=true)]", [{"f": {"a": "true"}}]),
    ("[f(a=...)]", [{"f": {"a": "..."}}]),
    ("[f(a=g(b=1))]", [{"f": {"a": {"g": {"b": 1}}}}]),
    ("[f(a=g(1))]", [{"f": {"a": "g(1)"}}]),
    ("[f(a=x[0:2])]", [{"f": {"a": "x[0:2]"}}]),
    ("[f(a=x.y)]", None),
    ("[f(a=(1, 2))]", [{"f": {"a": (1, 2)}}]),
    ("[f(a={'k': [1, {'z': 2}]})]", [{"f": {"a": {"k": [1, {"z": 2}]}}}]),
    ("[f(**{'a': 1})]", [{"f": {None: {"a": 1}}}]),
    ("[f(a=1, a=2)]", [{"f": {"a": 2}}]),
    ("[f(a=lambda: 1)]", None),
    ("[f(a=f'{x}')]", None),
    ("[f(a='\\d')]", [{"f": {"a": "\\d"}}]),
    ("[]", []),
    ("", []),
    ("I cannot do that.", None),
    ('{"name": "f", "arguments": {"a": 1}}', None),
    ("[f(a=1)] is the call", None),
    ("[[f(a=1)]]", None),
    ("[f(a='x\x00')]", None),
]


@pytest.mark.parametrize(("text", "calls"), READ)
def test_reading(text, calls):
    if calls is None:
        with pytest.raises(ValueError, match=r"."):
            decode_prompted(text)
    else:
        assert decode_prompted(text) == calls


@pytest.mark.parametrize(
    "value",
    [
        "9**9**9**9",
        "1 << 10**9",
        "'x' * 10**12",
        "10**12 * ['x']",
        "'%999999999d' % 3",
        "'%*d' % (10**9, 3)",
        "max(1, 2) + 1",
        "__import__('os').getcwd() + ''",
        "(" * 5000 + ")" * 5000,
        "-" * 5000 + "1",
    ],
)
def test_nothing_runs_and_nothing_grows(value):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"."):
        decode_prompted(f"[f(a={value})]")
    assert time.perf_counter() - start < 5
