import os
import sys
from dataclasses import fields

import numpy as np
import psutil
import pytest
from looks import look

from mlx_probe.runs.monitor.columns import SAMPLE_COLUMNS
from mlx_probe.runs.monitor.readings import SPEED_WINDOW, Readings, free_space
from mlx_probe.runs.monitor.sample import JobState, Sample


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("mlx_probe.runs.monitor.readings.time.monotonic", lambda: now[0])
    return now


def test_the_columns_are_the_attributes():
    assert [column.name for column in SAMPLE_COLUMNS] == [f.name for f in fields(Sample)]
    assert all(column.description for column in SAMPLE_COLUMNS)


def test_a_look_at_this_machine(tmp_path):
    state = JobState(3, 10, "a tensor", 0, 0.0)
    readings = Readings(lambda: state, lambda: (7, 11), tmp_path / "not" / "there", session=2)
    first = readings.look("running")
    times = psutil.Process().cpu_times()
    # The system counts in ticks.
    while sum(psutil.Process().cpu_times()[:2]) - sum(times[:2]) < 0.05:
        np.linalg.svd(np.ones((100, 100)))
    second = readings.look("paused")
    assert (first.done, first.total, first.what, first.session) == (3, 10, "a tensor", 2)
    assert (first.state, second.state) == ("running", "paused")
    assert first.process_cpu is None
    assert second.process_cpu > 0
    assert 0 <= second.other_cpu <= second.machine_cpu <= 100
    memory = psutil.virtual_memory()
    assert 0 < second.process_memory < memory.total
    assert second.memory_used + second.memory_available == memory.total
    assert 0 < second.memory_percent < 100
    assert second.swap_used >= 0
    assert second.swap_out_rate >= 0
    assert 0 < second.disk_free < free_space(tmp_path)[1]
    assert second.disk_scope == ("process" if sys.platform == "linux" else "machine")
    assert second.disk_write_rate >= 0
    assert (second.device_memory, second.device_memory_peak) == (7, 11)
    assert second.gpu_percent is None
    assert second.seconds > first.seconds >= 0


def test_what_the_system_refuses_is_unknown_and_the_rest_is_there(monkeypatch):
    def refuse():
        raise OSError("no such file")

    def lack():
        raise NotImplementedError

    monkeypatch.setattr(psutil, "swap_memory", refuse)
    monkeypatch.setattr(psutil, "cpu_times", lack)
    sample = Readings(JobState).look("running")
    assert sample.swap_used is sample.machine_cpu is sample.disk_free is None
    assert sample.process_memory > 0


def test_where_processes_have_no_disk_counters_the_machine_has(monkeypatch):
    monkeypatch.delattr(psutil.Process, "io_counters")
    sample = Readings(JobState).look("running")
    if psutil.disk_io_counters() is not None:
        assert sample.disk_scope == "machine"


def test_rates_are_of_the_time_between_two_looks(clock):
    state = [JobState(nbytes=100)]
    readings = Readings(lambda: state[0])
    assert readings.look("running").read_rate is None
    clock[0] += 2
    state[0] = JobState(nbytes=700)
    assert readings.look("running").read_rate == 300
    # No time has passed.
    assert readings.look("running").read_rate is None


def test_the_speed_is_of_the_time_spent_on_reading(clock):
    state = [JobState(nbytes=0, read_seconds=0.0)]
    readings = Readings(lambda: state[0])
    speeds = []
    for second in range(1, 15):
        speeds.append(readings.look("running").read_speed)
        clock[0] += 1
        state[0] = JobState(nbytes=1000 * second, read_seconds=0.25 * second)
    # Not before a whole window has passed.
    assert speeds[: int(SPEED_WINDOW)] == [None] * int(SPEED_WINDOW)
    assert set(speeds[int(SPEED_WINDOW) :]) == {4000.0}


def test_of_a_download_the_time_that_passes_counts(clock):
    state = [JobState()]
    readings = Readings(lambda: state[0])
    for second in range(1, 13):
        sample = readings.look("running")
        clock[0] += 1
        state[0] = JobState(nbytes=1000 * second)
    assert sample.read_speed == 1000.0


def test_a_job_that_reads_nothing_has_no_speed(clock):
    readings = Readings(lambda: JobState(nbytes=5, read_seconds=1.0))
    for _ in range(30):
        sample = readings.look("running")
        clock[0] += 1
    assert sample.read_speed is None
    assert sample.read_rate == 0.0


def test_names_without_end_and_without_unicode_are_cut_to_what_can_be_kept():
    sample = Readings(lambda: JobState(what="x\ud800" * 4000)).look("running")
    assert len(sample.what) == 200
    sample.what.encode("utf-8")


def test_values_survive_json_and_nonsense_does_not():
    sample = look(1.5, alerts=("a", "b"), gpu_power=3.5)
    values = {**sample.values(), "created_at": "2026-01-31T09:00:01.500000Z"}
    assert Sample.from_values(values) == sample
    for spoilt in ({"what": 3}, {"done": "3"}, {"alerts": "a"}, {"alerts": [1]}, {"seconds": None}):
        with pytest.raises(TypeError):
            Sample.from_values({**values, **spoilt})
    with pytest.raises(ValueError, match="isoformat"):
        Sample.from_values({**values, "created_at": "yesterday"})
    with pytest.raises((KeyError, TypeError)):
        Sample.from_values({})


def test_free_space_of_a_folder_to_be(tmp_path):
    free, total = free_space(tmp_path / "a" / "b")
    assert 0 < free <= total == psutil.disk_usage(os.fspath(tmp_path)).total
