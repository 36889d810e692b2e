"""Snapshots measured in the background by real processes: as offline, and never in the way."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import mlx.core as mx
import numpy as np
import psutil
import pytest
from pyarrow import parquet
from tinymodel import OF_THE_MOMENT
from tinymodel import run as command

from mlx_probe.analysis.analyze import analyze
from mlx_probe.analysis.compare.compare import compare
from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.count import parameter_shapes
from mlx_probe.lab.train.config import SnapshotConfig
from mlx_probe.lab.train.watch.folder import SnapshotFolder
from mlx_probe.lab.train.watch.over_time import write_over_time
from mlx_probe.lab.train.watch.watch import Watch
from mlx_probe.runs.load import read_table

MODEL = ModelConfig(dim=16, layers=1, heads=2, kv_heads=1, hidden=32, vocabulary=48, context=8)

pytestmark = pytest.mark.slow


def weights(seed):
    rng = np.random.default_rng(seed)
    shapes = parameter_shapes(MODEL).items()
    return {name: mx.array(rng.standard_normal(shape, np.float32)) for name, shape in shapes}


def make(run, steps, share=0.0):
    config = SnapshotConfig(per_decade=0, at=tuple(steps), watch_share=share)
    return Watch(run, config, MODEL, max(steps, default=1))


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def steps_of(path):
    # `read_table` opens a file twice, and it may be replaced in between.
    with parquet.ParquetFile(path) as file:
        return set(file.read(["step"])["step"].to_pylist())


def rows(path):
    table = parquet.read_table(path)
    return table.drop_columns([name for name in OF_THE_MOMENT if name in table.column_names])


@pytest.fixture
def children():
    """Gives the processes that this one began since the test did: earlier tests leave theirs."""
    before = set(psutil.Process().children())
    return lambda: [each for each in psutil.Process().children() if each not in before]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run whose snapshots were all measured at its end; one of them cannot be."""
    run, seen = tmp_path_factory.mktemp("run"), []
    spoilt = weights(10) | {"model.norm.weight": mx.full(16, float("nan"))}
    with make(run, [0, 2, 7, 10]) as watch:
        for step in range(11):
            if watch.due(step):
                watch.keep(step, spoilt if step == 10 else weights(step))
        os.truncate(SnapshotFolder(run).snapshot(7) / "model.safetensors", 100)
        summary = watch.finish(lambda done, total: seen.append((done, total)))
    return run, summary, seen


def test_all_are_measured_when_training_ends(measured):
    run, summary, seen = measured
    assert SnapshotFolder(run).measured() == [0, 2, 10]
    assert summary["snapshots"] == [0, 2, 7, 10]
    assert summary["measured"] == summary["measured_at_end"] == [0, 2, 10]
    assert summary["cpu_seconds_while_training"] == summary["share_taken"] == 0
    assert seen[-1] == (3, 4)
    assert seen == sorted(seen)


def test_one_that_cannot_be_measured_has_its_reason(measured):
    _, summary, _ = measured
    assert list(summary["failed"]) == ["7"]
    assert "step-7/model.safetensors" in summary["failed"]["7"]


def test_non_finite_weights_are_rows_and_no_failure(measured):
    table = parquet.read_table(measured[0] / "spectra_over_time.parquet").to_pylist()
    assert [(row["step"], row["param_name"]) for row in table if row["status"] != "ok"] == [
        (10, "model.norm.weight")
    ]


def test_rows_and_spectra_equal_an_offline_analysis(measured, tmp_path):
    run, _, _ = measured
    over_time = rows(run / "spectra_over_time.parquet")
    assert over_time.column_names[0] == "step"
    assert over_time["step"].to_pylist() == [0] * 11 + [2] * 11 + [10] * 11
    snapshot = SnapshotFolder(run).snapshot(2)
    done = command("analyze", snapshot, "--out", tmp_path / "2", "--format", "parquet")
    assert done.returncode == 0, done.stderr
    analyze(SnapshotFolder(run).snapshot(10), out=tmp_path / "10", formats=["parquet"])
    for place, step in ((11, 2), (22, 10)):
        offline = rows(tmp_path / str(step) / "params.parquet")
        assert over_time.slice(place, 11).drop_columns("step").equals(offline)
        ours = parquet.read_table(SnapshotFolder(run).analysis(step) / "spectra.parquet")
        assert ours.equals(parquet.read_table(tmp_path / str(step) / "spectra.parquet"))


def test_snapshots_are_models_to_compare(measured, tmp_path):
    run, _, _ = measured
    one, other = (SnapshotFolder(run).snapshot(step) for step in (0, 2))
    compare(one, other, out=tmp_path / "compared")
    assert len(read_table(tmp_path / "compared")[0]) == 11


def test_the_table_has_the_same_bytes_however_often_it_is_written(measured):
    run, _, _ = measured
    before = (run / "spectra_over_time.parquet").read_bytes()
    assert write_over_time(run) == 3
    assert (run / "spectra_over_time.parquet").read_bytes() == before


def test_the_background_measures_the_newest_first_and_keeps_its_share(tmp_path, caplog, children):
    folder, table = SnapshotFolder(tmp_path), tmp_path / "spectra_over_time.parquet"
    caplog.set_level("INFO", "mlx_probe.lab")
    with make(tmp_path, [1, 2, 3, 9], share=1.0) as watch:
        # It still imports the engine.
        for step in (1, 2, 3):
            watch.keep(step, weights(step))
        wait_for(lambda: folder.measured() == [1, 2, 3])
        assert not watch.due(5)
        (folder.path / "request").touch()
        assert watch.due(5)
        watch.keep(5, weights(5))
        assert not watch.due(6)
        wait_for(lambda: steps_of(table) == {1, 2, 3, 5})
        (process,) = children()
        assert process.nice() == 19
        summary = watch.finish()
    assert not process.is_running()
    assert summary["measured"] == [1, 2, 3, 5]
    assert summary["measured_at_end"] == []
    assert summary["skipped_while_training"] == [1, 2]
    assert 0 < summary["share_taken"] <= 1
    assert summary["cpu_seconds_while_training"] > 0
    assert "measuring falls behind: the snapshots of steps 1, 2 are measured later" in caplog.text
    assert "snapshot of step 3: measured in" in caplog.text


def test_a_crash_of_the_background_does_not_stop_training(tmp_path, caplog, children):
    with make(tmp_path, [1, 2], share=0.01) as watch:
        (process,) = children()
        process.kill()
        # Its parent reaps it.
        wait_for(lambda: process.status() == psutil.STATUS_ZOMBIE)
        watch.keep(1, weights(1))
        assert "measuring ended by itself" in caplog.text
        (again,) = children()
        assert again.pid != process.pid
    assert not again.is_running()


TRAINER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from mlx_probe.lab import device
from test_watch import make, weights
with make(Path(sys.argv[1]), [1, 2], share=0.5) as watch:
    watch.keep(1, weights(1))
    print(watch._process.pid, flush=True)
    time.sleep(600)
"""


def test_kill_9_takes_the_background_along_and_the_next_start_goes_on(tmp_path):
    here = Path(__file__).parent
    paths = os.pathsep.join(path for path in sys.path if path)
    trainer = subprocess.Popen(
        [sys.executable, "-c", TRAINER, tmp_path, here],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        background = psutil.Process(int(trainer.stdout.readline()))
        trainer.send_signal(signal.SIGKILL)
        trainer.wait()
        background.wait(10)
    finally:
        with suppress(OSError):
            trainer.kill()
        trainer.communicate()
    with make(tmp_path, [1, 2]) as watch:
        # The resumed run repeats step 1.
        watch.keep(1, weights(1))
        watch.keep(2, weights(2))
        assert watch.finish()["measured"] == [1, 2]


def test_where_training_stops_early_is_the_last_snapshot(tmp_path):
    watch = Watch(tmp_path, SnapshotConfig(per_decade=1), MODEL, 100)
    assert watch.due(37, is_last=True)
    assert not watch.due(37, is_last=False)
    assert not make(tmp_path, [4]).due(3, is_last=True)


def test_nothing_to_keep(tmp_path):
    with make(tmp_path, []) as watch:
        assert not any(watch.due(step) for step in range(3))
        assert watch.finish()["snapshots"] == []
    assert not (tmp_path / "spectra_over_time.parquet").exists()


def test_without_planned_steps_the_background_begins_with_the_first_request(tmp_path, children):
    with make(tmp_path, [], share=0.5) as watch:
        assert children() == []
        (SnapshotFolder(tmp_path).path / "request").touch()
        assert watch.due(1)
        watch.keep(1, weights(1))
        (process,) = children()
    assert not process.is_running()


def test_a_step_after_the_last_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match=r"snapshots.at cannot be 9"):
        Watch(tmp_path, SnapshotConfig(at=(9,)), MODEL, 8)
