"""Making environments is alone, undone when it fails, and begun anew after a kill."""

import errno
import os
import signal
import sys

import pytest
from environments import Workplace, write_template

from mlx_probe.core.errors import Interrupted, ResultError
from mlx_probe.library.environments import (
    InstallError,
    Place,
    Sources,
    create,
    list_environments,
    read_template,
)
from mlx_probe.library.environments.child import run_logged
from mlx_probe.library.environments.failures import explained

# What pip, uv and conda print, and what it means.
SAID = {
    "ERROR: No matching distribution found for mlx>=99": "no version of mlx>=99 fits",
    "  cause: Because mlxx was not found in the package registry and": "no version of mlxx fits",
    "Because there is no version of tqdm==99 and you require": "no version of tqdm==99 fits",
    "PackagesNotFoundError: not available:\n\n  - python=3.4\n\nCurrent channels:": "python=3.4",
    "WARNING: Retrying (Retry(total=4, connect=None)) after ... Name or service not known\n"
    "ERROR: No matching distribution found for mlx": "no connection to the package index",
    "Collecting numpy\nERROR: Could not install: [Errno 28] No space left on device": (
        "the disk is full while numpy is installed"
    ),
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. ...\n"
    "    alpha==1.0 from https://x/alpha.whl:\n": "the file of alpha==1.0 is not the one",
    "error: Hash mismatch for `alpha==1.0`": "the file of alpha==1.0 is not the one",
    "  ERROR: Failed building wheel for llama-cpp-python": "llama-cpp-python has no wheel",
    "ERROR: Cannot install a==1 and b==2 because these package versions have conflicting "
    "dependencies.": "contradict each other at a==1",
    "error: No interpreter found at path `/no/python`": "/no/python is not on this machine",
    "error: Permission denied (os error 13)": "cannot be written: Permission denied",
    "Collecting mlx\nSegmentation fault": "the installer ended with exit code 3 at mlx",
    "": "the installer ended with exit code 3 at the first package",
}


@pytest.fixture
def empty(tmp_path):
    return Workplace(tmp_path)


@pytest.mark.parametrize("output", SAID)
def test_a_failure_is_explained(output):
    error = explained("work", output, 3)
    assert error.fact.startswith("cannot make work: ")
    assert SAID[output] in error.fact
    assert error.remedy
    assert all(line in output for line in error.output)


def make(empty, on_line=None, replace=False):
    """Without packages, which is quicker, unless somebody listens to the installer."""
    sources = Sources((empty.wheels,), offline=True)
    place = Place(empty.folder, "work")
    bare = write_template(empty.root / "bare.yaml", requirements=[], check=[])
    template = read_template(str(bare if on_line is None else empty.template))
    on_line = on_line or (lambda line: None)
    return create(place, template, maker="venv", sources=sources, replace=replace, on_line=on_line)


def test_ctrl_c_leaves_nothing_but_the_log(empty):
    def stop(line):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="work was not made"):
        make(empty, stop)
    left = {p.relative_to(empty.folder).as_posix() for p in empty.folder.rglob("*")}
    assert left == {".making", ".making/work.claim", ".making/work.log"}
    assert list_environments(empty.folder) == []


def test_a_full_disk_is_said(empty):
    def full(line):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InstallError, match="No space left") as caught:
        make(empty, full)
    assert "--folder" in caught.value.remedy
    assert not (empty.folder / "work").exists()


@pytest.mark.parametrize("replaced", [False, True])
def test_after_a_kill_it_is_made_anew(empty, replaced):
    place = Place(empty.folder, "work")
    if replaced:
        make(empty)
    child = os.fork()
    if not child:
        with place.claimed(replace=True):
            (place.path / "bin").mkdir(parents=True)
            (place.path / "bin" / "half").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [each.state for each in list_environments(empty.folder)] == ["interrupted"]
    with pytest.raises(ResultError, match="making it was interrupted"):
        place.finished()
    if replaced:
        # What it was to replace is back.
        with pytest.raises(ResultError, match="is there already"):
            make(empty)
        assert place.state() == "ready"
        make(empty, replace=True)
    else:
        make(empty)
    assert place.state() == "ready"
    assert not (place.path / "bin" / "half").exists()


def test_two_at_a_time(empty):
    place = Place(empty.folder, "work")
    with place.claimed(replace=False):
        assert place.state() == "being made"
        for attempt in (lambda: make(empty), place.finished):
            with pytest.raises(ResultError, match="is being made"):
                attempt()


def test_an_installer_that_outlives_us_keeps_the_claim(empty):
    """A killed process leaves pip running: nobody may begin in its folder."""
    place, seen = Place(empty.folder, "work"), []
    with place.claimed(replace=False) as claim:
        program = f"import os; os.fstat({claim}); print('held')"
        command = [sys.executable, "-c", program]
        assert run_logged(command, place.log, empty.root, claim, seen.append)[0] == 0
    assert seen == ["held"]
