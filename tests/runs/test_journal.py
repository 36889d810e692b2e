import errno
import logging
import math
import os
import subprocess
import sys
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import ResultError
from mlx_probe.core.records import Column, Row
from mlx_probe.runs.journal import Journal

FINGERPRINT = "0123456789abcdef"
COLUMNS = (
    Column("param_name", "string", "", ""),
    Column("shape", "list<int64>", "", ""),
    Column("created_at", "timestamp", "", ""),
    Column("number", "float64", "", ""),
)
AT = datetime(2025, 1, 31, 9, 0, 0, 1, tzinfo=timezone.utc)
ROWS = [
    Row(index, {"param_name": f"w{index}\n", "shape": (index, 2), "created_at": AT, "number": x})
    for index, x in enumerate([0.1, math.inf, -0.0])
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "params.partial.jsonl"


def fill(path, rows=ROWS):
    with Journal(path, FINGERPRINT, COLUMNS) as journal:
        for row in rows:
            journal.append(row)


def recovered(path):
    with Journal(path, FINGERPRINT, COLUMNS) as journal:
        return list(journal.rows.values())


def test_rows_survive_exactly_in_any_order(path):
    fill(path, ROWS[::-1])
    again = recovered(path)
    assert again == ROWS[::-1]
    assert repr(again) == repr(ROWS[::-1])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "param_name": st.text(),
                "shape": st.none() | st.lists(st.integers(0, 2**63 - 1)).map(tuple),
                "created_at": st.datetimes(timezones=st.just(timezone.utc)).map(
                    lambda moment: moment.replace(fold=0)
                ),
                "number": st.floats(allow_nan=False),
            },
        ),
        max_size=4,
    )
)
def test_all_values_survive(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "journal"
    rows = [Row(index, value) for index, value in enumerate(values)]
    with Journal(path, FINGERPRINT, COLUMNS, resume=False) as journal:
        for row in rows:
            journal.append(row)
    assert repr(recovered(path)) == repr(rows)


def test_an_opened_journal_knows_its_statuses_and_made_no_rows(path, monkeypatch):
    """A run of 90,000 rows begins again within seconds; to read each of them takes a minute."""
    columns = (*COLUMNS, Column("status", "string", "", ""))
    statuses = ["ok", "failed", "ok"]
    with Journal(path, FINGERPRINT, columns) as journal:
        for row, status in zip(ROWS, statuses, strict=True):
            journal.append(Row(row.index, {**row.values, "status": status}))
        assert journal.rows.statuses == dict(enumerate(statuses))
    monkeypatch.setattr("mlx_probe.runs.journal.JournalRows.of_record", None)
    with Journal(path, FINGERPRINT, columns) as journal:
        assert journal.rows.statuses == dict(enumerate(statuses))
        assert [index in journal.rows for index in range(4)] == [True, True, True, False]


def test_rows_are_on_disk_before_the_journal_is_closed(path):
    with Journal(path, FINGERPRINT, COLUMNS) as journal:
        size = path.stat().st_size
        journal.append(ROWS[0])
        assert path.stat().st_size > size
        assert path.read_bytes().endswith(b"\n")


def test_killed_at_any_byte_of_the_last_two_rows(path):
    fill(path)
    whole = path.read_bytes()
    third = whole.rindex(b"\n", 0, -1) + 1
    second = whole.rindex(b"\n", 0, third - 1) + 1
    for size in range(second, len(whole) + 1):
        path.write_bytes(whole[:size])
        complete = 1 + (size >= third) + (size >= len(whole))
        assert recovered(path) == ROWS[:complete], size
        fill(path, ROWS[complete:])
        assert recovered(path) == ROWS, size


def test_killed_while_writing_the_header(path):
    fill(path, [])
    header = path.read_bytes().split(b"\n")[0]
    for size in range(len(header) + 1):
        path.write_bytes(header[:size])
        assert recovered(path) == []
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "damage",
    [
        *(b"\0" * 20, b"{}", b"[]", b'{"index": 1}', b'{"index": 1, "values": {"x": 1}}', b""),
        b'{"index": 1, "values": {"created_at": "now"}}',
        b'{"index": "1", "values": {}}',
    ],
)
def test_from_a_damaged_line_on_rows_are_dropped(path, damage, caplog):
    fill(path)
    lines = path.read_bytes().split(b"\n")
    lines[3] = damage
    path.write_bytes(b"\n".join(lines))
    with caplog.at_level(logging.WARNING):
        assert recovered(path) == ROWS[:1]
    assert "damaged at line 4" in caplog.text
    fill(path, ROWS[1:])
    assert recovered(path) == ROWS


@pytest.mark.parametrize(
    ("fingerprint", "columns"), [("f" * 16, COLUMNS), (FINGERPRINT, COLUMNS[::-1])]
)
def test_another_runs_journal_is_kept_aside(path, fingerprint, columns, caplog):
    fill(path)
    before = path.read_bytes()
    with caplog.at_level(logging.WARNING), Journal(path, fingerprint, columns) as journal:
        assert journal.rows == {}
    assert path.with_name(f"{path.name}.old").read_bytes() == before
    assert "another run" in caplog.text


def test_not_resuming_drops_the_rows(path):
    fill(path)
    with Journal(path, FINGERPRINT, COLUMNS, resume=False) as journal:
        assert journal.rows == {}
    assert recovered(path) == []


def test_discard_deletes_the_file(path):
    with Journal(path, FINGERPRINT, COLUMNS) as journal:
        journal.discard()
    assert not path.exists()


HOLDER = """
import sys
from pathlib import Path
from mlx_probe.core.records import Column
from mlx_probe.runs.journal import Journal
columns = [Column(name, kind, "", "") for name, kind in {columns}]
with Journal(Path({path!r}), {fingerprint!r}, columns):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_with_the_number_of_the_first(path):
    fill(path)
    columns = [(column.name, column.type) for column in COLUMNS]
    code = HOLDER.format(columns=columns, path=str(path), fingerprint=FINGERPRINT)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    ) as holder:
        try:
            assert holder.stdout.readline() == b"open\n"
            with pytest.raises(ResultError, match=rf"another run .*\(pid {holder.pid}\)"):
                Journal(path, FINGERPRINT, COLUMNS)
        finally:
            holder.kill()
    assert recovered(path) == ROWS


def test_two_journals_in_one_process_exclude_each_other(path):
    with (
        Journal(path, FINGERPRINT, COLUMNS),
        pytest.raises(ResultError, match=f"pid {os.getpid()}"),
    ):
        Journal(path, FINGERPRINT, COLUMNS)


class FullDisk:
    """A file whose disk takes ``space`` bytes and then refuses."""

    def __init__(self, file, space):
        self._file, self.space = file, space

    def write(self, data):
        if not self.space:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self._file.write(data[: self.space])
        self.space -= taken
        return taken

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.parametrize("space", [0, 1, 40])
def test_disk_full(path, space):
    with Journal(path, FINGERPRINT, COLUMNS) as journal:
        journal.append(ROWS[0])
        journal._lines._file = disk = FullDisk(journal._lines._file, space)
        with pytest.raises(ResultError, match="finished rows are safe") as caught:
            journal.append(ROWS[1])
        assert str(path) in caught.value.fact
        assert "same command again" in caught.value.remedy
        disk.space = 10_000
        journal.append(ROWS[2])
    assert recovered(path) == [ROWS[0], ROWS[2]]


def test_a_folder_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ResultError, match=r"cannot write .*journal"):
        Journal(file / "journal", FINGERPRINT, COLUMNS)
