"""Looking on from outside: what runs, what is over, and what becomes of it meanwhile."""

import os

import pytest
from looks import job, look

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.monitor.follow import attach
from mlx_probe.runs.monitor.jobs import register, started_at
from mlx_probe.runs.monitor.samples import SampleLog, write_recording


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))


class Running:
    """A job of this process whose samples the test writes."""

    def __init__(self, folder, resume=True, name="monitor.0.samples.jsonl", **values):
        folder.mkdir(exist_ok=True)
        self.folder, self.lines = folder, folder / name
        self.log = SampleLog(self.lines, resume)
        self.job = job(
            pid=os.getpid(),
            process_started=started_at(),
            folder=str(folder),
            samples=str(self.lines),
            session=self.log.session,
            **values,
        )
        self.log.begin(self.job)
        self.file = register(self.job)

    def take(self, *looks):
        for each in looks:
            self.log.append(each)

    def finish(self):
        write_recording(self.lines, self.folder / "monitor.parquet")
        self.lines.unlink()
        self.vanish()

    def vanish(self):
        self.log.close()
        self.file.unlink()


@pytest.fixture
def running(tmp_path):
    return Running(tmp_path / "out")


def test_nothing_runs(tmp_path):
    for target, says in [
        (None, "no job is running"),
        ("12345678", "is no running job"),
        (str(tmp_path / "none"), "does not exist"),
        (str(tmp_path), "has no samples"),
    ]:
        with pytest.raises(ResultError, match=says):
            attach(target)


def test_the_only_job_needs_no_name_and_has_a_number_and_a_folder(running):
    running.take(look(0))
    for target in (None, str(os.getpid()), str(running.folder), str(running.lines)):
        follower = attach(target)
        assert follower.news() == [look(0)]
        assert follower.view().job == running.job
        assert follower.view().state == "running"
    running.vanish()


def test_several_jobs_are_listed(running, tmp_path):
    other = Running(tmp_path / "other", title="evil\nname")
    with pytest.raises(ResultError, match="2 jobs are running") as refusal:
        attach(None)
    assert refusal.value.fact.count("\n") == 2
    assert attach(str(other.folder)).view().job == other.job
    running.vanish()
    other.vanish()


def test_a_job_is_followed_to_its_end(running):
    follower = attach(None)
    assert follower.news() == []
    assert follower.view().seconds_left is None
    running.take(look(0, done=0), look(10, done=20))
    assert len(follower.news()) == 2
    assert follower.view().seconds_left == 40
    running.take(look(20, done=20, state="paused"))
    follower.news()
    # At the pace of the time in which it was not paused.
    assert follower.view().seconds_left == 40
    assert follower.view().state == "paused"
    running.take(look(30, done=100))
    running.finish()
    # The last one is in the finished file only.
    assert follower.news() == [look(30, done=100)]
    view = follower.view()
    assert (view.state, view.is_over, view.seconds_left) == ("finished", True, None)
    assert len(view.samples) == 4
    assert follower.news() == []


def test_a_job_that_is_killed_while_it_is_watched(running):
    follower = attach(None)
    running.take(look(0))
    follower.news()
    running.take(look(1, state="stopping"))
    running.vanish()
    assert follower.news() == [look(1, state="stopping")]
    assert follower.view().state == "not finished"
    # And later, by its folder.
    again = attach(str(running.folder))
    assert len(again.news()) == 2
    assert again.view().state == "not finished"
    assert again.view().job == running.job


def test_what_an_earlier_process_did_is_not_this_ones_pace(running):
    running.take(look(0), look(10, done=50))
    running.vanish()
    other = Running(running.folder)
    other.take(look(0, session=1, done=50), look(10, session=1, done=60))
    follower = attach(None)
    follower.news()
    assert follower.view().seconds_left == 40
    other.vanish()


def test_a_finished_run_is_shown_from_its_file(running):
    running.take(look(0), look(1, done=100))
    running.finish()
    follower = attach(str(running.folder))
    assert follower.view().samples == ()
    assert len(follower.news()) == 2
    view = follower.view()
    assert (view.state, view.job.title) == ("finished", "m")


def test_a_job_whose_samples_cannot_be_written_is_there_all_the_same(tmp_path):
    file = register(
        job(pid=os.getpid(), process_started=started_at(), folder=str(tmp_path), samples="")
    )
    follower = attach(None)
    assert follower.news() == []
    assert follower.view().state == "running"
    file.unlink()
    follower.news()
    assert follower.view().state == "not finished"
