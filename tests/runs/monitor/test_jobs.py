import os
import subprocess
import sys

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looks import job

from mlx_probe.core.files import atomic_replace
from mlx_probe.runs.monitor.jobs import JobRecord, jobs_folder, register, running_jobs, started_at
from mlx_probe.runs.monitor.sample import JobState
from mlx_probe.runs.monitor.watch import JobMonitor, WatchConfig


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def here(**values):
    return job(pid=os.getpid(), process_started=started_at(), **values)


def test_a_job_is_listed_while_its_file_is_there():
    assert running_jobs() == []
    one = here(title="evil\x1b[2J\n" * 900, rules=("a", "b"))
    file = register(one)
    assert running_jobs() == [one]
    other = here(created_at="2026-01-30T09:00:00+00:00")
    register(other)
    assert running_jobs() == [other, one]
    file.unlink()
    assert running_jobs() == [other]


def test_what_the_dead_left_behind_is_removed():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    alive = psutil.Process(child.pid).create_time()
    register(job(pid=child.pid, process_started=alive))
    assert [job.pid for job in running_jobs()] == [child.pid]
    child.kill()
    # Not waited for yet: a zombie runs nothing.
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert running_jobs() == []
    assert list(jobs_folder().iterdir()) == []
    child.wait()
    child.stdin.close()


def test_what_a_killed_process_had_half_written_is_removed():
    jobs_folder().mkdir(parents=True)
    entry = jobs_folder() / "999999999.0.json"
    with atomic_replace(entry) as temporary:
        temporary.write_text("{")
    entry.rename(temporary)
    assert running_jobs() == []
    assert list(jobs_folder().iterdir()) == []


def test_a_number_that_is_another_process_by_now_is_no_job():
    register(job(pid=os.getpid(), process_started=started_at() - 100))
    assert running_jobs() == []
    assert list(jobs_folder().iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"pid": 1}', b"\xff", b"[" * 50_000, b'{"pid": "x"}']
)
def test_files_that_make_no_sense(content):
    jobs_folder().mkdir(parents=True)
    mine = jobs_folder() / f"{os.getpid()}.7.json"
    mine.write_bytes(content)
    dead = jobs_folder() / "999999999.0.json"
    dead.write_bytes(content)
    others = jobs_folder() / "notes.json"
    others.write_bytes(content)
    assert running_jobs() == []
    assert not dead.exists()
    # Someone may be writing it at this moment; and what is not ours stays.
    assert mine.exists()
    assert others.exists()


def test_another_processes_number_in_the_file_is_not_believed():
    jobs_folder().mkdir(parents=True)
    told = register(here())
    told.rename(told.with_name(f"{os.getppid()}.0.json"))
    assert running_jobs() == []


def test_without_a_cache_a_job_runs_and_is_not_listed(cache):
    cache.write_text("a file")
    assert register(here()) is None
    assert running_jobs() == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_any_json_is_a_job_or_refused(entry):
    with pytest.raises((KeyError, TypeError, ValueError)):
        JobRecord.from_json(entry)


def test_json_round_trip():
    one = here(copy_bandwidth=None)
    assert JobRecord.from_json(one.describe()) == one


def test_a_job_within_another_is_not_listed(tmp_path):
    for listed in (True, False):
        config = WatchConfig(alert=(), listed=listed)
        with JobMonitor("analyze", "a model", JobState, config=config, folder=tmp_path):
            assert [each.title for each in running_jobs()] == ["a model"] * listed
