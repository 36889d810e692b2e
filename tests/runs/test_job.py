"""The life of a job that is neither an analysis nor a comparison: it counts letters of files."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from models import Disk, disk_full_after

import mlx_probe
from mlx_probe.core.errors import ConfigError, Interrupted, ResultError, SourceError, Stopped
from mlx_probe.core.records import Column, Row
from mlx_probe.runs.check import Check
from mlx_probe.runs.fingerprint import file_stamps, fingerprint_of
from mlx_probe.runs.folder import resolve_output
from mlx_probe.runs.job import Job, JobSpec
from mlx_probe.runs.monitor import Stage
from mlx_probe.runs.monitor.samples import read_recording
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.outputs import finalize
from mlx_probe.runs.table.schema import rows_to_table

COUNT = 8
COLUMNS = (
    Column("name", "string", "identity", "The file.", required=True),
    Column("letters", "int64", "letters", "Its letters.", lower=0),
)
STAGES = {
    "read": Stage("read a file", "the disk"),
    "letters": Stage("count its letters", "the alphabet"),
}
CHANGED = SourceError("a text changed", "Leave it alone")


class Letters:
    """The job, with what a test wants to happen after a row."""

    def __init__(self, texts, out, resume=True, watch=None, after_row=lambda done: None, **how):
        self.files = sorted(texts.iterdir())
        self.paths = resolve_output(out, how.get("formats", ()), "texts", "letters", stem="letters")
        self.after_row, self.counted = after_row, []
        self.job = Job("letters", watch=watch, resume=resume, on_alert=how.get("on_alert"))
        self.checks = how.get("checks", [Check("letters", True, "ok")])

    def spec(self, sizes=None):
        return JobSpec(
            title="texts",
            about=("counting letters",),
            paths=self.paths,
            columns=COLUMNS,
            fingerprint=lambda: fingerprint_of({"files": file_stamps(self.files)}),
            stages=STAGES,
            sizes=[file.stat().st_size for file in self.files] if sizes is None else sizes,
        )

    def run(self, sizes=None):
        job = self.job
        job.begin("count")
        with job.running(self.spec(sizes)):
            job.write_plan({"files": len(self.files)})
            rows = dict(job.journal.rows)
            for index, file in enumerate(self.files):
                if index not in rows:
                    rows[index] = self.count(index, file)
            job.refuse_changed(CHANGED)
            job.begin("validate", "validating")
            table = rows_to_table(rows.values(), COLUMNS)
            job.begin("write")
            outputs = finalize(job.paths, table)
            return job.finish({"files": COUNT}, self.checks, outputs, {"thinking": 0.5})

    def count(self, index, file):
        self.job.meter.gate.wait()
        self.job.progress.what = file.name
        with self.job.meter.stage("read", file.stat().st_size):
            text = file.read_text("utf-8")
        with self.job.meter.stage("letters", flops=float(len(text))):
            row = Row(index, {"name": file.name, "letters": sum(map(str.isalpha, text))})
        self.counted.append(index)
        self.job.append(row, file.name, "ok")
        self.after_row(len(self.counted))
        return row


def write_texts(folder):
    folder.mkdir(exist_ok=True)
    for index in range(COUNT):
        (folder / f"{index}.txt").write_text("ab 1 " * (index + 1))
    return folder


@pytest.fixture
def texts(tmp_path):
    return write_texts(tmp_path / "texts")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def letters(run):
    return run.load().letters.to_list()


EXPECTED = [2 * (index + 1) for index in range(COUNT)]


def log_of(folder):
    return "\n".join(path.read_text("utf-8") for path in sorted(folder.glob("letters_*.log")))


def interrupt_after(rows):
    def stop(done):
        if done == rows:
            raise KeyboardInterrupt

    return stop


def interrupted(texts, out, rows):
    with pytest.raises(Interrupted):
        Letters(texts, out, after_row=interrupt_after(rows)).run()


def test_what_a_job_leaves(texts, out):
    run = Letters(texts, out, formats=["csv", "parquet"]).run()
    (log,) = out.glob("letters_*Z.log")
    assert {path.name for path in out.iterdir()} == {
        *("letters.csv", "letters.parquet", "letters.monitor.parquet", "letters.plan.json"),
        *("letters.run_meta.json", log.name),
    }
    assert run.passed
    assert letters(run) == EXPECTED
    plan = json.loads((out / "letters.plan.json").read_text("utf-8"))
    assert plan["files"] == COUNT
    assert plan["run"]["fingerprint"] == run.meta["fingerprint"]
    text = log.read_text("utf-8")
    assert text.index("counting letters") < text.index("0.txt: ok") < text.index("written: ")
    assert "letters: ok" in text


def test_the_metadata_of_a_job(texts, out):
    meta = json.loads(Letters(texts, out).run().meta_path.read_text("utf-8"))
    assert (meta["kind"], meta["files"], meta["resumed_rows"]) == ("letters", COUNT, 0)
    assert set(meta["seconds"]) == {"open", "count", "validate", "write", "thinking"}
    assert meta["seconds"]["thinking"] == 0.5
    total = sum(file.stat().st_size for file in texts.iterdir())
    assert meta["bytes_read"] == meta["stages"]["read"]["bytes"] == total
    assert meta["stages"]["letters"]["flops"] == total
    limits = {"the disk", "the alphabet", "start-up", "validation and writing"}
    assert meta["limit"]["name"] in {*limits, "waiting and bookkeeping"}
    assert meta["calibration"]["copy_bandwidth"] > 0
    assert meta["validation"]["checks"] == [{"name": "letters", "passed": True, "detail": "ok"}]
    assert set(meta["outputs"]) == {"letters.csv"}
    samples = read_recording(out / meta["monitor"]["file"]).samples
    assert (samples[-1].done, samples[-1].total) == (total, total)
    assert samples[-1].what == "validating"


@pytest.mark.parametrize("rows", [1, 5, COUNT])
def test_an_interrupted_job_goes_on(texts, out, rows):
    with pytest.raises(Interrupted) as stop:
        Letters(texts, out, after_row=interrupt_after(rows)).run()
    (journal,) = out.glob("letters.*.partial.jsonl")
    assert stop.value.fact == f"interrupted; {rows} of {COUNT} rows are saved in {journal}"
    assert f"interrupted after {rows} of {COUNT} rows" in log_of(out)
    assert not (out / "letters.run_meta.json").exists()
    with pytest.raises(ResultError, match="is not finished"):
        mlx_probe.load_run(out / "letters.csv")
    again = Letters(texts, out)
    run = again.run()
    assert again.counted == list(range(rows, COUNT))
    assert run.meta["resumed_rows"] == rows
    assert run.meta["monitor"]["sessions"] == 2
    assert f"resuming: {rows} of {COUNT} rows are there" in log_of(out)
    assert letters(run) == EXPECTED
    assert not list(out.glob("*.partial.jsonl*")) + list(out.glob("*.samples.jsonl"))


def test_no_resume_starts_over(texts, out):
    interrupted(texts, out, 5)
    again = Letters(texts, out, resume=False)
    assert again.run().meta["resumed_rows"] == 0
    assert len(again.counted) == COUNT


def test_a_job_of_unknown_length(texts, out):
    counting = Letters(texts, out, after_row=interrupt_after(3))
    with pytest.raises(Interrupted, match="interrupted; 3 rows are saved"):
        counting.run(sizes=())
    assert Letters(texts, out).run(sizes=()).meta["resumed_rows"] == 3


def test_a_record_that_comes_again_replaces_the_earlier_one(texts, out):
    """As the steps of a training run do that follow its last checkpoint."""
    interrupted(texts, out, 5)
    counting = Letters(texts, out)
    job = counting.job
    with job.running(counting.spec()):
        assert job.progress.count == 5
        job.append(Row(4, {"name": "4.txt", "letters": 99}), "4.txt", "again")
        assert (job.progress.count, job.progress.text) == (5, "5 of 8 rows")
        done = job.progress.state().done
        assert done == sum(file.stat().st_size for file in counting.files[:5])
    last = Letters(texts, out)
    run = last.run()
    assert last.counted == [5, 6, 7]
    assert letters(run)[4] == 99


@pytest.mark.parametrize("change", ["write", "delete"])
@pytest.mark.parametrize("rows", [2, COUNT])
def test_inputs_that_change_are_refused(texts, out, change, rows):
    def meddle(done):
        if done == rows:
            victim = texts / "0.txt"
            victim.write_text("xyz") if change == "write" else victim.unlink()

    with pytest.raises(SourceError, match="a text changed"):
        Letters(texts, out, after_row=meddle).run()
    assert not (out / "letters.run_meta.json").exists()
    assert " ERROR mlx_probe.runs.log: a text changed" in log_of(out)
    # Rows of before and after the change belong to no input.
    write_texts(texts)
    run = Letters(texts, out).run()
    assert run.meta["resumed_rows"] == 0
    assert letters(run) == EXPECTED


@pytest.mark.parametrize("rows", [0, 5])
def test_a_full_disk_keeps_the_rows_before(texts, out, rows):
    counting = Letters(texts, out)
    with disk_full_after(rows), pytest.raises(ResultError, match="rows are safe") as refusal:
        counting.run()
    assert "Free space" in refusal.value.remedy
    assert " ERROR mlx_probe.runs.log: cannot write" in log_of(out)
    assert counting.job.progress.count == rows
    again = Letters(texts, out)
    run = again.run()
    assert again.counted == list(range(rows, COUNT))
    assert letters(run) == EXPECTED


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_job import Letters

def kill(done):
    if done == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

Letters(Path(sys.argv[2]), Path(sys.argv[3]), after_row=kill).run()
"""


@pytest.mark.parametrize("rows", [1, 6])
def test_a_killed_job_goes_on(texts, out, rows):
    here = Path(__file__).parent
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, here, texts, out, str(rows)],
        env={**os.environ, "PYTHONPATH": str(here.parent)},
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (out / "letters.run_meta.json").exists()
    again = Letters(texts, out)
    run = again.run()
    assert again.counted == list(range(rows, COUNT))
    assert letters(run) == EXPECTED


def test_another_process_is_kept_out(texts, out):
    refused = []

    def intrude(done):
        if done == 2:
            with pytest.raises(ResultError, match="another run is writing here"):
                Letters(texts, out).run()
            refused.append(done)

    assert letters(Letters(texts, out, after_row=intrude).run()) == EXPECTED
    assert refused == [2]


@pytest.mark.parametrize("action", ["pause", "stop"])
def test_rules_pause_and_stop_a_job(texts, out, monkeypatch, action):
    disk, noticed = Disk(monkeypatch), threading.Event()
    watch = WatchConfig(alert=(f"disk below 5GB {action}",), interval=0.01)

    def press(done):
        if done == 3:
            disk.free = 10**9
            assert noticed.wait(30)

    def alert(text, is_warning):
        noticed.set()
        if action == "pause":
            disk.free = 50 * 10**9

    counting = Letters(texts, out, watch=watch, after_row=press, on_alert=alert)
    if action == "pause":
        run = counting.run()
        assert run.meta["monitor"]["paused_seconds"] > 0
        assert len(counting.counted) == COUNT
    else:
        with pytest.raises(Stopped, match="disk below 5GB stop"):
            counting.run()
        assert counting.counted == [0, 1, 2]
        disk.free = 50 * 10**9
        run = Letters(texts, out).run()
        assert run.meta["resumed_rows"] == 3
    assert letters(run) == EXPECTED
    assert f"{'paused' if action == 'pause' else 'stopping'}: disk at 1.0 GB" in log_of(out)


def test_a_wrong_rule_is_refused_before_anything_is_opened(tmp_path):
    with pytest.raises(ConfigError, match="is not a rule"):
        Job("letters", watch=WatchConfig(alert=("memory",)))


def test_a_check_that_fails_is_in_the_metadata_and_the_log(texts, out):
    run = Letters(texts, out, checks=[Check("letters", False, "too few")]).run()
    assert run.failures == ("letters: too few",)
    assert " ERROR mlx_probe.runs.job: letters: too few" in log_of(out)


def test_a_folder_that_cannot_be_written_is_refused_first(texts, tmp_path):
    (tmp_path / "file").touch()
    counting = Letters(texts, tmp_path / "file" / "out")
    with pytest.raises(ResultError):
        counting.run()
    assert counting.counted == []


def test_the_log_s_level_is_as_before(texts, out):
    before = logging.getLogger("mlx_probe").level
    interrupted(texts, out, 2)
    assert logging.getLogger("mlx_probe").level == before
