"""Runs under rules: a breach pauses, a stop loses nothing, and no row is another."""

import csv
import json
import threading
import time
from dataclasses import replace
from itertools import chain

import pandas as pd
import pytest
from models import Disk, Watcher
from tinymodel import OF_THE_MOMENT, comparable

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.compare.blocks import WeightReader
from mlx_probe.analysis.compare.compare import compare
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.selection import select_weights
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.stream import analyze_rows
from mlx_probe.analysis.validate import validate_run
from mlx_probe.core.errors import ConfigError, Stopped
from mlx_probe.runs.monitor import Gate, UsageMeter
from mlx_probe.runs.monitor.samples import find_recording, read_recording
from mlx_probe.runs.monitor.watch import WatchConfig

ROWS = 17
FULL = AnalyzeConfig(backend="numpy", metrics="full")
TIMEOUT = 30


@pytest.fixture
def disk(monkeypatch, tmp_path):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    return Disk(monkeypatch)


def watch(*alert):
    return WatchConfig(alert=alert, interval=0.01)


class Pressed(Watcher):
    """After some rows the disk is full, until the run has said that it noticed."""

    def __init__(self, disk, rows, relieved):
        super().__init__(self._press)
        self.disk, self.rows, self.relieved = disk, rows, relieved
        self.noticed, self.texts = threading.Event(), []

    def _press(self, rows):
        if rows == self.rows:
            self.disk.free = 10**9
            assert self.noticed.wait(TIMEOUT)

    def alert(self, text, is_warning):
        self.texts.append(text)
        if self.relieved:
            self.disk.free = 50 * 10**9
        self.noticed.set()


def values_of(folder):
    """The table as text, without what is of the moment."""
    with (folder / "params.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in OF_THE_MOMENT} for row in rows]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_breach_pauses_and_the_run_goes_on_to_the_same_rows(tiny, whole, tmp_path, disk, workers):
    watcher = Pressed(disk, 4, relieved=True)
    out, config = tmp_path / "out", replace(FULL, workers=workers)
    rules = watch("disk below 5GB pause")
    run = mlx_probe.analyze(tiny, out=out, config=config, watch=rules, progress=watcher)
    assert run.passed
    pd.testing.assert_frame_equal(comparable(run.load()), comparable(whole.load()))
    assert [text.split(":")[0].split(" after")[0] for text in watcher.texts] == [
        "paused",
        "goes on",
    ]
    log = next(out.glob("analyze_*.log")).read_text("utf-8")
    assert "WARNING mlx_probe.runs.job: paused: disk at 1.0 GB" in log
    assert "INFO mlx_probe.runs.job: goes on" in log
    monitored = run.meta["monitor"]
    assert monitored["paused_seconds"] > 0
    assert [alert["rule"] for alert in monitored["alerts"]] == ["disk below 5GB pause"]
    samples = read_recording(out / "monitor.parquet").samples
    assert len(samples) == monitored["samples"]
    assert {s.state for s in samples if s.disk_free == 10**9} == {"paused"}


@pytest.mark.parametrize("rows", [1, 9])
def test_a_stop_loses_nothing(tiny, whole, tmp_path, disk, rows, monkeypatch):
    # Otherwise the tiny weights, most of this model, are one task.
    monkeypatch.setattr("mlx_probe.analysis.order.TINY_TOGETHER", 1)
    watcher = Pressed(disk, rows, relieved=False)
    out, config = tmp_path / "out", replace(FULL, workers=2)
    with pytest.raises(Stopped) as stop:
        mlx_probe.analyze(
            tiny, out=out, config=config, watch=watch("disk below 5GB stop"), progress=watcher
        )
    assert "disk below 5GB stop" in stop.value.fact
    assert "1.0 GB" in stop.value.fact
    assert "Free space" in stop.value.remedy
    assert not (out / "params.csv").exists()
    (path,) = out.glob("params.*.partial.jsonl")
    lines = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    saved = {line["index"]: line["values"] for line in lines if "index" in line}
    # What was under way is finished, nothing else begun.
    assert rows <= len(saved) == len(watcher.finished) < ROWS
    expected = values_of(whole.folder)
    for index, values in saved.items():
        assert values["param_name"] == expected[index]["param_name"]
        assert str(values["rank"] if values["rank"] is not None else "") == expected[index]["rank"]
    log = next(out.glob("analyze_*.log")).read_text("utf-8")
    assert "stopping: disk at 1.0 GB" in log
    kept = read_recording(find_recording(out))
    assert kept.samples[-1].state == "stopping"
    disk.free = 50 * 10**9
    again = Watcher()
    # Under other rules, too.
    run = mlx_probe.analyze(tiny, out=out, config=FULL, watch=watch(), progress=again)
    assert run.meta["resumed_rows"] == len(saved) == len(again.resumed)
    assert len(again.started) == ROWS - len(saved)
    assert values_of(out) == expected
    pd.testing.assert_frame_equal(comparable(run.load()), comparable(whole.load()))
    assert run.meta["monitor"]["sessions"] == 2
    samples = read_recording(out / "monitor.parquet").samples
    assert {s.session for s in samples} == {0, 1}
    # A follower can tell an earlier process' work from this one's.
    first = next(s for s in samples if s.session == 1)
    assert first.done > 0


def test_a_rule_that_is_broken_from_the_beginning_lets_nothing_begin(tiny, tmp_path, disk):
    disk.free = 10**9
    watcher = Watcher()
    rules = watch("disk below 5GB stop")
    with pytest.raises(Stopped):
        mlx_probe.analyze(tiny, out=tmp_path / "out", config=FULL, watch=rules, progress=watcher)
    assert watcher.started == []


def test_heads_and_experts_wait_and_stop_as_well(tiny, whole, tmp_path, disk):
    watcher = Pressed(disk, ROWS, relieved=False)
    rules = watch("disk below 5GB stop")
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        mlx_probe.analyze(tiny, out=out, config=FULL, watch=rules, progress=watcher)
    assert len(watcher.finished) == ROWS
    disk.free = 50 * 10**9
    run = mlx_probe.analyze(tiny, out=out, config=FULL, watch=rules)
    assert run.meta["resumed_rows"] == ROWS
    pd.testing.assert_frame_equal(comparable(run.load()), comparable(whole.load()))


def test_rules_do_not_decide_what_a_run_is(tiny, tmp_path, disk):
    with mlx_probe.open_checkpoint(tiny) as checkpoint:
        plan = make_plan(checkpoint, FULL)
    for rules in (watch(), watch("disk below 5GB warn"), None):
        run = mlx_probe.analyze(tiny, out=tmp_path / "out", config=FULL, watch=rules)
        assert run.meta["fingerprint"] == plan.fingerprint
        assert "alert" not in run.meta["configuration"]


def test_a_wrong_rule_is_refused_before_the_model_is_looked_for(tmp_path):
    with pytest.raises(ConfigError, match="is not a rule"):
        mlx_probe.analyze(tmp_path / "none", watch=watch("memory"))
    with pytest.raises(ConfigError, match="is not a rule"):
        compare(tmp_path / "none", tmp_path / "none", watch=watch("memory"))


def test_time_at_the_gate_is_neither_reading_nor_computing(tiny, monkeypatch):
    real, offset = time.perf_counter, [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: real() + offset[0])

    class Slow(Gate):
        """Everybody waits for a thousand seconds."""

        def wait(self):
            offset[0] += 1000.0
            self._held.seconds = self._waited() + 1000.0

    with mlx_probe.open_checkpoint(tiny) as checkpoint:
        # One worker: the other threads' clocks go on while one waits.
        plan = make_plan(checkpoint, replace(FULL, workers=1))
        meter = UsageMeter(STAGES)
        meter.gate = Slow()
        rows = list(chain(*analyze_rows(plan, {}, meter, lambda weight: None)))
        stages = meter.usage().stages
    assert len(rows) == ROWS
    assert offset[0] > 10_000
    for row in rows:
        assert row.values["read_seconds"] + row.values["compute_seconds"] < 500
    assert all(work.seconds < 500 for work in stages.values())


def test_validate_has_no_word_about_the_samples(tiny, tmp_path, disk):
    run = mlx_probe.analyze(tiny, out=tmp_path / "out", config=FULL, watch=watch())
    assert "monitor.parquet" not in run.meta["outputs"]
    (run.folder / "monitor.parquet").unlink()
    assert all(check.passed for check in validate_run(run.folder))


def test_a_comparison_pauses_and_stops_and_goes_on(tiny, tmp_path, disk, monkeypatch):
    monkeypatch.setattr("mlx_probe.analysis.order.TINY_TOGETHER", 1)
    undisturbed = compare(tiny, tiny, out=tmp_path / "whole")
    noticed, texts = threading.Event(), []

    def press(done, total, label):
        if done == 3:
            disk.free = 10**9
            assert noticed.wait(TIMEOUT)

    def alert(text, is_warning):
        texts.append(text)
        noticed.set()

    out = tmp_path / "out"
    rules = watch("disk below 5GB stop")
    with pytest.raises(Stopped, match="disk below 5GB stop"):
        compare(tiny, tiny, out=out, watch=rules, on_row=press, on_alert=alert)
    (path,) = out.glob("*.partial.jsonl")
    saved = path.read_text("ascii").count('"index"')
    assert 3 <= saved < ROWS
    disk.free = 50 * 10**9
    noticed.clear()
    texts.clear()

    def relieve(text, is_warning):
        alert(text, is_warning)
        disk.free = 50 * 10**9

    def press_again(done, total, label):
        if done == saved + 2:
            disk.free = 10**9
            assert noticed.wait(TIMEOUT)

    rules = watch("disk below 5GB pause")
    run = compare(tiny, tiny, out=out, watch=rules, on_row=press_again, on_alert=relieve)
    assert run.meta["resumed_rows"] == saved
    assert [text.split(":")[0].split(" after")[0] for text in texts] == ["paused", "goes on"]
    assert run.meta["monitor"]["sessions"] == 2
    assert run.passed
    drop = ["compute_seconds"]
    pd.testing.assert_frame_equal(
        run.load().drop(columns=drop), undisturbed.load().drop(columns=drop)
    )


class Tripped(UsageMeter):
    """Its gate closes for good when so many slabs have been read."""

    def __init__(self, slabs):
        super().__init__(STAGES)
        self.slabs, self.read = slabs, 0

    def add(self, stage, seconds, nbytes=0, flops=0.0):
        super().add(stage, seconds, nbytes, flops)
        if stage == "read":
            self.read += 1
            if self.read == self.slabs:
                self.gate.stop("the rule", "Go on later")


@pytest.mark.parametrize("slabs", [1, 3, 4])
def test_a_reader_stops_before_its_next_slab_and_finishes_its_last(tiny, monkeypatch, slabs):
    # A matrix of 32 x 32 in four slabs.
    monkeypatch.setattr("mlx_probe.checkpoint.weight.chunk_extent", lambda short: 8)
    config = replace(FULL, workers=1, include=("*self_attn.q_proj*",))
    with mlx_probe.open_checkpoint(tiny) as checkpoint:
        plan, meter = make_plan(checkpoint, config), Tripped(slabs)
        if slabs < 4:
            with pytest.raises(Stopped, match="the rule"):
                list(analyze_rows(plan, {}, meter, lambda weight: None))
        else:
            ((row,),) = analyze_rows(plan, {}, meter, lambda weight: None)
            assert row.values["status"] == "ok"
    assert meter.read == slabs


@pytest.mark.parametrize("slabs", [1, 3, 4])
def test_a_comparison_stops_before_its_next_slab(tiny, monkeypatch, slabs):
    monkeypatch.setattr("mlx_probe.checkpoint.weight.chunk_extent", lambda short: 8)

    class Counting(Gate):
        passed = 0

        def wait(self):
            super().wait()
            self.passed += 1
            if self.passed == slabs:
                self.stop("the rule", "Go on later")

    with mlx_probe.open_checkpoint(tiny) as checkpoint:
        (weight,) = select_weights(checkpoint.weights(), ("*self_attn.q_proj*",), ())
        meter, lines = UsageMeter(STAGES), []
        gate = meter.gate = Counting()
        reader = WeightReader(weight, 0, meter)
        if slabs < 4:
            with pytest.raises(Stopped, match="the rule"):
                lines.extend(reader.lines())
        else:
            lines.extend(reader.lines())
    # One slab for each time that it was let through.
    assert sum(map(len, lines)) == 8 * slabs
    assert gate.passed == slabs
