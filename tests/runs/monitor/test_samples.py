"""Samples on disk: lines while a job runs, Parquet afterwards."""

import errno
import json

import pandas as pd
import pyarrow as pa
import pytest
from looks import job, look
from pyarrow import parquet

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.monitor import samples as module
from mlx_probe.runs.monitor.columns import SAMPLE_COLUMNS
from mlx_probe.runs.monitor.samples import (
    SampleLog,
    SampleTail,
    find_recording,
    lines_name,
    load_samples,
    read_recording,
    write_recording,
)
from mlx_probe.runs.table.schema import arrow_schema

LOOKS = [look(i, alerts=("memory above 1% warn: 2 %",) * (i % 2), gpu_power=None) for i in range(5)]


def written(path, looks=LOOKS, **values):
    log = SampleLog(path)
    log.begin(job(session=log.session, **values))
    for each in looks:
        log.append(each)
    log.close()
    return path


def test_lines_and_parquet_hold_the_same(tmp_path):
    lines = written(tmp_path / "monitor.0.samples.jsonl")
    kept = read_recording(lines)
    assert kept.samples == tuple(LOOKS)
    assert kept.jobs == (job(),)
    assert write_recording(lines, tmp_path / "monitor.parquet") == 5
    again = read_recording(tmp_path / "monitor.parquet")
    assert (again.samples, again.jobs) == (kept.samples, kept.jobs)
    assert lines.exists()


def test_the_file_is_typed_and_its_columns_described(tmp_path):
    lines = written(tmp_path / "monitor.0.samples.jsonl")
    write_recording(lines, tmp_path / "monitor.parquet")
    schema = parquet.read_schema(tmp_path / "monitor.parquet")
    assert schema.types == arrow_schema(SAMPLE_COLUMNS).types
    for column in SAMPLE_COLUMNS:
        told = schema.field(column.name).metadata[b"description"].decode()
        assert told.startswith(column.description)
        assert column.unit in told


def test_groups_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_GROUP", 2)
    lines = written(tmp_path / "monitor.0.samples.jsonl")
    assert write_recording(lines, tmp_path / "monitor.parquet") == 5
    assert parquet.ParquetFile(tmp_path / "monitor.parquet").num_row_groups == 3
    assert read_recording(tmp_path / "monitor.parquet").samples == tuple(LOOKS)


def test_no_samples_are_a_file_too(tmp_path):
    lines = written(tmp_path / "monitor.0.samples.jsonl", [])
    assert write_recording(lines, tmp_path / "monitor.parquet") == 0
    assert read_recording(tmp_path / "monitor.parquet").jobs == (job(),)


def test_another_process_goes_on_with_the_next_number(tmp_path):
    path = written(tmp_path / "monitor.0.samples.jsonl")
    # Killed in the middle of a line.
    path.write_bytes(path.read_bytes()[:-30])
    log = SampleLog(path)
    assert log.session == 1
    log.begin(job(session=1))
    log.append(look(0, session=1))
    log.close()
    kept = read_recording(path)
    assert [each.session for each in kept.samples] == [0, 0, 0, 0, 1]
    assert [each.session for each in kept.jobs] == [0, 1]
    fresh = SampleLog(path, resume=False)
    assert fresh.session == 0
    fresh.close()
    assert path.read_bytes() == b""


def test_a_disk_that_refuses_leaves_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "monitor.0.samples.jsonl"
    log = SampleLog(path)
    log.begin(job())
    log.append(look(0))

    class Full:
        def __init__(self, file):
            self.file, self.fileno = file, file.fileno

        def write(self, rest):
            if len(rest) > 20:
                return self.file.write(rest[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

    file, log._lines._file = log._lines._file, Full(log._lines._file)
    with pytest.raises(OSError, match="No space"):
        log.append(look(1))
    log._lines._file = file
    log.append(look(2))
    log.close()
    assert [each.seconds for each in read_recording(path).samples] == [0, 2]


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"3", b'{"job": 3}', b'{"what": 1}', b"\xff", b"[" * 9999]
)
def test_lines_that_make_no_sense_are_left_out(tmp_path, line):
    path = written(tmp_path / "monitor.0.samples.jsonl")
    path.write_bytes(path.read_bytes() + line + b"\n")
    written(path)
    assert len(read_recording(path).samples) == 10
    assert write_recording(path, tmp_path / "monitor.parquet") == 10


def test_a_tail_reads_what_is_new_in_whole_lines(tmp_path):
    path = tmp_path / "monitor.0.samples.jsonl"
    tail = SampleTail(path)
    assert tail.read() == []
    written(path, LOOKS[:2])
    assert tail.read() == [job(), *LOOKS[:2]]
    assert tail.read() == []
    whole = written(tmp_path / "other", [LOOKS[2]]).read_bytes().splitlines(keepends=True)[1]
    with path.open("ab") as file:
        file.write(whole[:40])
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(whole[40:])
    assert tail.read() == [LOOKS[2]]
    # Begun anew.
    path.write_bytes(b"")
    assert tail.read() == []
    written(path, LOOKS[3:4])
    assert tail.read()[-1] == LOOKS[3]
    path.unlink()
    assert tail.read() == []


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 100])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "monitor.parquet"
    path.write_bytes(content)
    with pytest.raises(ResultError, match=r"monitor\.parquet"):
        read_recording(path)


def test_another_parquet_file_is_refused(tmp_path):
    path = tmp_path / "monitor.parquet"
    parquet.write_table(pa.table({"created_at": ["x"], "jobs": [3]}), path)
    with pytest.raises(ResultError, match=r"monitor\.parquet"):
        read_recording(path)


def test_where_a_runs_samples_are(tmp_path):
    assert find_recording(tmp_path) is None
    for stem in ("params", "tiny"):
        lines = written(tmp_path / lines_name(stem, "0123456789abcdef"))
        (tmp_path / f"{stem}.csv").touch()
        assert find_recording(tmp_path / f"{stem}.csv") == lines
        assert find_recording(lines) == lines
    assert lines_name("params", "0123456789abcdef") == "monitor.0123456789ab.samples.jsonl"
    assert find_recording(tmp_path / "run_meta.json").name.startswith("monitor.")
    assert find_recording(tmp_path / "tiny.run_meta.json").name.startswith("tiny.monitor.")
    write_recording(lines, tmp_path / "tiny.monitor.parquet")
    assert find_recording(tmp_path / "tiny.csv").suffix == ".parquet"
    assert find_recording(tmp_path) is not None


def test_lines_are_strict_json(tmp_path):
    path = written(tmp_path / "x", [look(0, what="\x1b[2J", read_rate=float("nan"))])
    for line in path.read_text("ascii").splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_samples_as_a_frame(tmp_path):
    lines = written(tmp_path / "monitor.0.samples.jsonl")
    live = load_samples(tmp_path)
    assert list(live.columns) == [column.name for column in SAMPLE_COLUMNS]
    assert str(live.created_at.dtype) == "datetime64[us, UTC]"
    assert live.seconds.tolist() == [0, 1, 2, 3, 4]
    assert live.gpu_power.isna().all()
    write_recording(lines, tmp_path / "monitor.parquet")
    lines.unlink()
    pd.testing.assert_frame_equal(load_samples(tmp_path / "params.csv"), live)
    assert load_samples(tmp_path / "none") is None
