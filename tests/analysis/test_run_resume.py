"""Interrupted runs end with the rows of uninterrupted ones, and measure nothing twice."""

import errno
import json
from dataclasses import replace

import pandas as pd
import pytest
from models import Watcher, disk_full_after, interrupt_after
from tinymodel import comparable

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.progress import Silent
from mlx_probe.core.errors import CheckpointError, Interrupted, ResultError
from mlx_probe.runs.table import WRITERS

pytestmark = pytest.mark.usefixtures("one_by_one")

ROWS = 17
FULL = AnalyzeConfig(backend="numpy", metrics="full")


def interrupted(tiny, out, rows, workers=1):
    with pytest.raises(Interrupted):
        mlx_probe.analyze(
            tiny, out=out, config=replace(FULL, workers=workers), progress=interrupt_after(rows)
        )


def resumed(tiny, out, config=FULL, **how):
    watcher = Watcher()
    result = mlx_probe.analyze(tiny, out=out, config=config, progress=watcher, **how)
    return result, watcher


def log_of(folder):
    return "\n".join(path.read_text("utf-8") for path in sorted(folder.glob("analyze_*.log")))


@pytest.mark.parametrize("rows", [1, 6, ROWS - 1, ROWS])
@pytest.mark.parametrize("workers", [1, 3])
def test_nothing_is_measured_twice_and_no_row_differs(tiny, whole, tmp_path, rows, workers):
    interrupted(tiny, tmp_path, rows, workers)
    result, watcher = resumed(tiny, tmp_path)
    assert len(watcher.resumed) == rows
    assert len(watcher.started) == ROWS - rows
    assert result.meta["resumed_rows"] == rows
    assert result.passed
    assert f"resuming: {rows} of {ROWS} rows are there" in log_of(tmp_path)
    assert f"interrupted after {rows} of {ROWS} rows" in log_of(tmp_path)
    pd.testing.assert_frame_equal(comparable(result.load()), comparable(whole.load()))
    assert not list(tmp_path.glob("*.partial.jsonl*"))


def test_a_run_may_be_interrupted_again_and_again(tiny, whole, tmp_path):
    for _ in range(3):
        interrupted(tiny, tmp_path, 4)
    result, watcher = resumed(tiny, tmp_path)
    assert len(watcher.resumed) == 12
    pd.testing.assert_frame_equal(comparable(result.load()), comparable(whole.load()))


def test_an_interruption_in_a_worker_counts_as_one(tiny, tmp_path):
    started = []

    class Stop(Silent):
        def start(self, weight):
            started.append(weight)
            if len(started) == 14:
                raise KeyboardInterrupt

    config = replace(FULL, workers=1)
    with pytest.raises(Interrupted, match="13 of 17 rows are saved"):
        mlx_probe.analyze(tiny, out=tmp_path, config=config, progress=Stop())
    assert resumed(tiny, tmp_path)[0].meta["resumed_rows"] == 13


def test_a_line_that_was_cut_is_measured_again(tiny, whole, tmp_path):
    interrupted(tiny, tmp_path, 6)
    (journal,) = tmp_path.glob("*.partial.jsonl")
    content = journal.read_bytes()
    # After the last row comes what the process has cost.
    journal.write_bytes(content[: content.rindex(b'{"index"') + 20])
    result, watcher = resumed(tiny, tmp_path)
    assert len(watcher.started) == ROWS - 5
    pd.testing.assert_frame_equal(comparable(result.load()), comparable(whole.load()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"rank_tol": 1e-5},
        {"zero_epsilon": 1e-3},
        {"metrics": "basic"},
        {"save_spectra": False},
        # Of resamples.
        {"seed": 3},
        {"exclude": ("mask",)},
        {"sample": "experts=2"},
        {"backend": "mlx", "device": "cpu"},
    ],
    ids=str,
)
def test_rows_of_another_configuration_are_not_taken(tiny, tmp_path, change, monkeypatch):
    monkeypatch.chdir(tmp_path)
    interrupted(tiny, None, 6)
    result, watcher = resumed(tiny, None, replace(FULL, **change))
    assert watcher.resumed == ()
    assert result.passed
    # And the interrupted run can still go on, in its own folder.
    first, watcher = resumed(tiny, None)
    assert len(watcher.resumed) == 6
    assert first.folder != result.folder


@pytest.mark.parametrize("change", [{"workers": 2}, {"memory_limit": 2**31}], ids=str)
def test_a_run_goes_on_at_another_pace(tiny, tmp_path, change):
    interrupted(tiny, tmp_path, 6)
    assert len(resumed(tiny, tmp_path, replace(FULL, **change))[1].resumed) == 6


def test_no_resume_starts_over(tiny, whole, tmp_path):
    interrupted(tiny, tmp_path, 6)
    result, watcher = resumed(tiny, tmp_path, resume=False)
    assert len(watcher.started) == ROWS
    pd.testing.assert_frame_equal(comparable(result.load()), comparable(whole.load()))


def test_a_second_run_is_kept_out_and_leaves_the_first_alone(tiny, whole, tmp_path):
    refusals = []

    def intrude(finished):
        if finished in (1, ROWS):
            with pytest.raises(ResultError, match="another run is writing here") as refusal:
                mlx_probe.analyze(tiny, out=tmp_path, config=FULL)
            refusals.append(refusal.value.remedy)

    result = mlx_probe.analyze(tiny, out=tmp_path, config=FULL, progress=Watcher(intrude))
    assert len(refusals) == 2
    assert "--out" in refusals[0]
    pd.testing.assert_frame_equal(comparable(result.load()), comparable(whole.load()))


@pytest.mark.parametrize("row", [0, 7, ROWS - 1])
def test_a_full_disk_keeps_the_rows_before(tiny, whole, tmp_path, row):
    with disk_full_after(row), pytest.raises(ResultError, match="rows are safe") as refusal:
        mlx_probe.analyze(tiny, out=tmp_path, config=replace(FULL, workers=1))
    assert "Free space" in refusal.value.remedy
    assert " ERROR mlx_probe.runs.log: cannot write" in log_of(tmp_path)
    result, watcher = resumed(tiny, tmp_path)
    assert len(watcher.resumed) == row
    pd.testing.assert_frame_equal(comparable(result.load()), comparable(whole.load()))


def test_a_disk_that_is_full_at_the_end_costs_no_measuring(tiny, whole, tmp_path, monkeypatch):
    def full(table, path):
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setitem(WRITERS, "parquet", replace(WRITERS["parquet"], write=full))
        with pytest.raises(ResultError, match=r"params\.parquet"):
            mlx_probe.analyze(tiny, out=tmp_path, formats=["csv", "parquet"], config=FULL)
    assert not list(tmp_path.glob("params.csv")) + list(tmp_path.glob("*.tmp"))
    result, watcher = resumed(tiny, tmp_path, formats=["csv", "parquet"])
    assert watcher.started == []
    pd.testing.assert_frame_equal(comparable(result.load()), comparable(whole.load()))


def rewrite(path):
    """Other weights under the same header: neither names nor sizes change."""
    content = bytearray(path.read_bytes())
    content[-600:-300] = content[-900:-600]
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (rewrite, 3),
        (rewrite, ROWS),
        (lambda path: path.unlink(), 3),
        (lambda path: path.unlink(), ROWS),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), 3),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), ROWS),
    ],
    ids=["rewritten-3", "rewritten-17", "deleted-3", "deleted-17", "shortened-3", "shortened-17"],
)
def test_a_model_that_changes_while_it_is_read_gives_no_table(model, tmp_path, change, row):
    def meddle(finished):
        if finished == row:
            change(model / "model.safetensors")

    config = replace(FULL, workers=1)
    out = tmp_path / "out"
    with pytest.raises(CheckpointError, match=r"tiny"):
        mlx_probe.analyze(model, out=out, config=config, progress=Watcher(meddle))
    assert not (out / "params.csv").exists()
    assert not (out / "run_meta.json").exists()
    assert " ERROR mlx_probe.runs.log: " in log_of(out)


def test_a_changed_model_is_measured_from_the_start(model, tmp_path):
    interrupted(model, tmp_path / "out", 6)
    rewrite(model / "model.safetensors")
    result, watcher = resumed(model, tmp_path / "out")
    assert watcher.resumed == ()
    assert result.passed


def test_an_older_result_stays_until_the_new_one_is_there(tiny, whole, tmp_path):
    mlx_probe.analyze(tiny, out=tmp_path, config=FULL)
    before = (tmp_path / "params.csv").read_bytes()
    interrupted(tiny, tmp_path, 6)
    assert (tmp_path / "params.csv").read_bytes() == before
    assert len(mlx_probe.load_run(tmp_path)) == ROWS


def test_the_journal_is_json_line_by_line_and_says_who_wrote(tiny, tmp_path):
    interrupted(tiny, tmp_path, 6)
    (journal,) = tmp_path.glob("params.*.partial.jsonl")
    header, writer, *rows, cost = map(json.loads, journal.read_text("ascii").splitlines())
    rows = [row for row in rows if "pid" not in row]
    assert journal.name.split(".")[1] == header["fingerprint"][:12]
    assert set(writer) == {"pid"}
    assert set(cost) == {"pid", "cost"}
    assert cost["cost"]["seconds"] > 0
    # As they were finished, the longest first.
    assert len({row["index"] for row in rows}) == len(rows) == 6
