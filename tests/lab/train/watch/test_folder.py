"""Snapshots on disk: whole or not at all, and no measurement outlives its weights."""

import os

import pytest

from mlx_probe.core.errors import ResultError
from mlx_probe.lab.train.watch.folder import SnapshotFolder


def writer(data):
    def write(folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(data)

    return write


def measure(folder, step):
    folder.analysis(step).mkdir()
    (folder.analysis(step) / "run_meta.json").write_text("{}")


@pytest.fixture
def folder(tmp_path):
    return SnapshotFolder(tmp_path)


def test_steps_are_numbers_and_not_names(folder):
    assert folder.steps() == []
    for step in (100, 2, 0, 10):
        folder.keep(step, writer(b"x"))
    (folder.path / "step-7.old").mkdir()
    (folder.path / "request").touch()
    assert folder.steps() == [0, 2, 10, 100]
    measure(folder, 10)
    assert (folder.measured(), folder.unmeasured()) == ([10], [0, 2, 100])


def test_a_repeated_step_keeps_its_measurement(folder):
    folder.keep(3, writer(b"same"))
    measure(folder, 3)
    before = (folder.snapshot(3) / "model.safetensors").stat().st_mtime_ns
    folder.keep(3, writer(b"same"))
    assert folder.is_measured(3)
    assert (folder.snapshot(3) / "model.safetensors").stat().st_mtime_ns == before


def test_other_weights_lose_it(folder):
    folder.keep(3, writer(b"one"))
    measure(folder, 3)
    folder.keep(3, writer(b"two"))
    assert not folder.is_measured(3)
    assert (folder.snapshot(3) / "model.safetensors").read_bytes() == b"two"


def test_a_full_disk_leaves_no_half_snapshot(folder):
    def fails(path):
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"ha")
        raise OSError(28, os.strerror(28))

    folder.keep(1, writer(b"one"))
    for step in (1, 2):
        with pytest.raises(ResultError, match=f"step-{step}: No space left"):
            folder.keep(step, fails)
    assert folder.steps() == [1]
    assert (folder.snapshot(1) / "model.safetensors").read_bytes() == b"one"
    folder.clean()
    assert [path.name for path in folder.path.iterdir()] == ["step-1"]


def test_measurements_that_do_not_describe_the_weights_go(folder):
    folder.keep(1, writer(b"one"))
    measure(folder, 1)
    assert folder.refuse_measurements("standard") == [1]
    assert folder.unmeasured() == [1]
