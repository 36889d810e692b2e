"""A statement that wants more than to read the views: one message, and nothing is touched."""

import pyarrow as pa
import pytest

import mlx_probe
from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.query import engine

REFUSED = [
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "COPY params TO '{folder}/out.parquet'",
    "EXPORT DATABASE '{folder}'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/out.db' AS other",
    "ATTACH ':memory:' AS other",
    "INSTALL httpfs",
    "LOAD json",
    "SET threads = 1",
    "RESET memory_limit",
    "SET enable_external_access = true",
    "SET disabled_filesystems = ''",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "CREATE TABLE kept AS SELECT 1",
    "CREATE SECRET (TYPE s3)",
    "INSERT INTO params VALUES (1)",
    "DELETE FROM params",
    "DROP VIEW params",
    "CALL enable_logging(storage = 'file', storage_config = {{'path': '{folder}/log'}})",
    "CHECKPOINT",
    "VACUUM",
    "PREPARE later AS SELECT 1",
    "USE memory",
    # Statements that DuckDB takes for a SELECT.
    "WITH w AS (COPY (SELECT 1) TO '{folder}/out.csv') SELECT 1",
    # Files that DuckDB 2.0 allows beside a database in memory.
    "WITH w AS (COPY (SELECT 1) TO ':memory:' (FORMAT csv)) SELECT 1",
    "WITH w AS (COPY (SELECT 1) TO '{folder}/:memory:.wal' (FORMAT csv)) SELECT 1",
    "WITH w AS (INSERT INTO params VALUES (1) RETURNING *) SELECT * FROM w",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{folder}/out.csv''')",
    "FROM enable_logging(storage = 'file', storage_config = {{'path': '{folder}/log'}})",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/out.csv'",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_parquet('{runs}/quick/params.parquet')",
    "SELECT * FROM parquet_metadata('{runs}/quick/params.parquet')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM glob('{folder}/*')",
    "FROM '{secret}'",
    "FROM 'https://example.org/x.csv'",
    "FROM read_text(':memory:')",
    "SELECT getenv('HOME')",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM pandas_scan(1)",
    # A table of this module.
    "FROM visible_from_python",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_a_hostile_statement_is_refused(stored, tmp_path, monkeypatch, statement):
    visible_from_python = pa.table({"x": [1]})
    assert visible_from_python.num_rows == 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    secret = tmp_path / "secret.csv"
    secret.write_text("word\nSESAME\n")
    (tmp_path / ":memory:").write_text("SESAME")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    runs = sorted(stored.runs.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        mlx_probe.query(
            statement.format(folder=tmp_path, secret=secret, runs=stored.runs), [stored.runs]
        )
    assert "SESAME" not in str(caught.value)
    assert caught.value.remedy
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert sorted(stored.runs.rglob("*")) == runs


def test_what_a_large_statement_cannot_hold_is_not_spilled(stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "_SHARE", 0.001)
    with pytest.raises(ResultError, match="more memory than is free"):
        mlx_probe.query(
            "select count(distinct a.range * 1000 + b.range) from range(100000) a, range(100) b",
            [stored.runs],
        )
    assert not list(tmp_path.iterdir())
