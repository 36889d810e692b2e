"""The catalog's file: shared, refused when newer, never a traceback when damaged."""

import contextlib
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores_on_disk import folder_model

from mlx_probe.core.errors import ConfigError, ProbeError, ResultError
from mlx_probe.library.catalog import database as database_module
from mlx_probe.library.catalog import (
    find_duplicates,
    find_model,
    load_models,
    open_database,
    scan,
    set_note,
    undoable,
)
from mlx_probe.library.catalog.database import VERSION
from mlx_probe.library.catalog.schema import VERSIONS

# A catalog of version 1, as a dump: users have such files.
RELEASED = Path(__file__).with_name("version_1.sql").read_text("utf-8")


def test_a_catalog_that_an_earlier_release_wrote_is_read(tmp_path):
    path = tmp_path / "c.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(RELEASED)
    with open_database(path) as database:
        (model,) = load_models(database)
    assert (model.path, model.location) == (Path("/m"), Path("/m/a.gguf"))
    assert [file.path for file in model.files] == [Path("/m/a.gguf")]
    assert (model.note, model.tags, model.shape) == ("a note", ("good",), {"layers": 2})
    assert [run.facts for run in model.analyses] == [{"gbps": 1.5}]


def test_this_release_writes_the_tables_that_earlier_ones_read(tmp_path):
    def columns(path):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            tables = ("models", "files", "tags", "runs", "analyses")
            return {t: connection.execute(f"PRAGMA table_info({t})").fetchall() for t in tables}

    released, written = tmp_path / "released.sqlite", tmp_path / "written.sqlite"
    with contextlib.closing(sqlite3.connect(released)) as connection:
        connection.executescript(RELEASED)
    with open_database(written):
        pass
    assert columns(written) == columns(released)


def version_of(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def schema_of(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {
            (kind, name, " ".join(sql.replace("( ", "(").split()) if sql else None)
            for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master")
        }


def test_an_older_catalog_is_converted(tmp_path):
    path, new = tmp_path / "c.sqlite", tmp_path / "new.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        # As the release made them, which `version_1.sql` need not have to the letter.
        for statements in VERSIONS[:1]:
            connection.executescript(statements)
        script = RELEASED[RELEASED.index("INSERT") :]
        connection.executescript(script)
    assert version_of(path) == 1
    with open_database(path) as database, open_database(new):
        (model,) = load_models(database)
        assert (model.note, model.tags) == ("a note", ("good",))
        assert database.rows("SELECT * FROM experiments") == []
    assert version_of(path) == VERSION
    assert schema_of(path) == schema_of(new)


def test_a_conversion_is_whole_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "c.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(RELEASED)
    before = schema_of(path)
    broken = f"{VERSIONS[1]}; CREATE TABLE experiments (twice)"
    monkeypatch.setattr(database_module, "VERSIONS", (VERSIONS[0], broken))
    with pytest.raises(ResultError), open_database(path):
        pass
    assert (version_of(path), schema_of(path)) == (1, before)


def test_a_reader_converts_nothing(tmp_path):
    path = tmp_path / "c.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(RELEASED)
    content = path.read_bytes()
    with open_database(path, read_only=True) as database:
        assert [model.id for model in load_models(database)] == ["owner/tiny"]
    assert path.read_bytes() == content


def test_a_newer_catalog_is_refused(tmp_path):
    path = tmp_path / "c.sqlite"
    with open_database(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(ResultError, match=f"version {VERSION + 1}") as e, open_database(path):
        pass
    assert "Update mlx-probe" in e.value.remedy


def test_another_program_s_database_is_left_alone(tmp_path):
    path = tmp_path / "c.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(ResultError, match="something else"), open_database(path):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database " * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_none(tmp_path, content):
    path = tmp_path / "c.sqlite"
    path.write_bytes(content)
    with pytest.raises(ResultError, match="damaged") as e, open_database(path):
        pass
    assert "Move that file away" in e.value.remedy
    assert path.read_bytes() == content


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="cannot make"), open_database(tmp_path / "file" / "c"):
        pass
    with pytest.raises(ResultError, match="cannot use the catalog"), open_database(tmp_path):
        pass


def test_a_transaction_is_whole_or_nothing(database, tmp_path):
    folder_model(tmp_path / "m")
    scan(database, [tmp_path / "m"])

    def fail():
        with database.writing():
            set_note(database, load_models(database)[0], "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert load_models(database)[0].note == ""


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The bytes of a catalog with a bit of everything."""
    root = tmp_path_factory.mktemp("full")
    for name in "ab":
        folder_model(root / "models" / name)
    with open_database(root / "c.sqlite") as database:
        scan(database, [root / "models"], stores=[])
        find_duplicates(database, load_models(database))
        set_note(database, load_models(database)[0], "a note")
    return (root / "c.sqlite").read_bytes()


@pytest.fixture(scope="module")
def somewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@given(
    edits=st.lists(
        st.tuples(st.integers(0, 1 << 17), st.binary(min_size=1, max_size=40)), max_size=6
    ),
    cut=st.integers(0, 1 << 17),
)
@settings(max_examples=150, deadline=None)
def test_a_damaged_catalog_ends_in_one_message(full, somewhere, edits, cut):
    content = bytearray(full[: max(1, cut)])
    for position, patch in edits:
        offset = position % len(content)
        content[offset : offset + len(patch)] = patch
    path = somewhere / "c.sqlite"
    path.write_bytes(content)
    with contextlib.suppress(ProbeError), open_database(path) as database:
        models = load_models(database)
        undoable(database)
        for model in models:
            with contextlib.suppress(ConfigError):
                find_model(models, model.id)
        find_duplicates(database, models)
        if models:
            set_note(database, models[0], "x")


@pytest.mark.slow
def test_two_processes_scan_at_once(home, tmp_path):
    for number in range(30):
        folder_model(tmp_path / "models" / f"m{number}", number)
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from mlx_probe.library.catalog import load_models, open_database, scan, scanning
        scanning._BATCH = 1
        with open_database(Path(sys.argv[1])) as database:
            for _ in range(3):
                report = scan(database, [Path(sys.argv[2])], stores=[])
            print(len(load_models(database)), report.unchanged)
        """
    )
    command = [sys.executable, "-c", script, home / "catalog.sqlite", tmp_path / "models"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs
    assert {out for out, _ in outputs} == {"30 30\n"}
    with open_database(home / "catalog.sqlite") as database:
        assert len(load_models(database)) == 30
