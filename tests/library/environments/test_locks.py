"""Lock files: what is written is read back, and what is no lock is refused."""

import string
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.environments import Lock, read_lock
from mlx_probe.library.environments.lock import Pin, differences, parse_pins, write_lock
from mlx_probe.library.environments.template import template_from

ENTRIES = {
    "name": "tiny",
    "description": "Tiny, \\ and \u73af\u5883",
    "python": ">=3.10",
    "requirements": ["a>=1; sys_platform == 'darwin'"],
    "check": ["mlx", "import a.b"],
}
TEMPLATE = template_from(ENTRIES, "here")
NAMES = st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,8}", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}(rc1|\.post2|\+cpu)?", fullmatch=True)
HASHES = st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), unique=True, max_size=3)
PINS = st.lists(
    st.builds(Pin, NAMES, VERSIONS, HASHES.map(sorted).map(tuple)), unique_by=lambda pin: pin.name
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("locks") / "lock.txt"


@settings(max_examples=30)
@given(pins=PINS)
def test_what_is_written_is_read_back(path, pins):
    made = "2026-11-30T12:00:00+00:00"
    lock = Lock("3.11.7", "cpython", "darwin-arm64", "uv", made, TEMPLATE, tuple(pins))
    write_lock(path, lock)
    assert read_lock(path) == lock


@given(st.text(string.printable, max_size=60))
def test_a_line_is_a_pin_or_refused(line):
    """Nothing that pip would take for an option or an address gets through."""
    with suppress(ResultError):
        text = "".join(pin.requirement for pin in parse_pins(line, "lock"))
        assert not set("@/ ") & set(text)


@pytest.mark.parametrize(
    "line",
    ["-r more.txt", "a==1 --index-url=x", "a>=1", "a==1; python_version>'3'", "a[b]==1", "a==*"],
)
def test_other_requirements_are_refused(line):
    with pytest.raises(ResultError, match="is not name==version with hashes"):
        parse_pins(f"b==1\n{line}\n", "lock")


def test_versions_are_compared_as_versions():
    assert differences({"a": "1.0", "b": "1"}, {"a": "1", "c": "2"}, ["c"]) == [("b", "1", None)]
    assert differences({"a": "1"}, {"a": "1+cpu"}) == [("a", "1", "1+cpu")]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"requirments": []}, "unknown key 'requirments'"),
        ({"name": ""}, "name is not one line"),
        ({"name": "a\nb"}, "name is not one line"),
        ({"requirements": "mlx"}, "requirements is not a list"),
        ({"requirements": ["mlx >> 1"]}, "is no requirement"),
        ({"python": "new"}, "names no versions"),
        ({"check": ["mlxx"]}, "no check is called 'mlxx'"),
        ({"check": ["import os; os.remove('x')"]}, "no check is called"),
    ],
)
def test_a_template_that_makes_no_sense(changes, says):
    with pytest.raises(ConfigError, match=says):
        template_from(ENTRIES | changes, "here")
