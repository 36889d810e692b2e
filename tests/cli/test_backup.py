"""`mlx-probe backup` as a user meets it: the contract, exit codes, refusals, defaults."""

import json
import os
import random
import socket
import sqlite3
from contextlib import closing

import pytest
from backups import every_file, facts, make_tree
from models import invoke, refuses

from mlx_probe.library.catalog import open_database
from mlx_probe.library.documents.project import MARKER

OWN = ("--with", "own")


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "tree", random.Random(9), files=10)


def ids(repo):
    return [
        each["id"] for each in json.loads(invoke("backup", "list", "--repo", repo, "--json").stdout)
    ]


def test_the_contract(tree, tmp_path):
    repo, out = tmp_path / "repo", tmp_path / "out"
    created = invoke("backup", "create", tree, "--repo", repo, *OWN)
    assert created.exit_code == 0, created.output
    assert str(tree) in created.stdout
    invoke("backup", "create", tree, "--repo", repo)
    first, second = ids(repo)
    assert first[:16] in created.stdout
    assert invoke("backup", "verify", "--repo", repo).exit_code == 0
    restored = invoke("backup", "restore", first, "--repo", repo, "--out", out)
    assert restored.exit_code == 0, restored.output
    assert facts(out / "tree") == facts(tree)
    damaged = max(every_file(repo), key=lambda path: path.stat().st_size)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    found = invoke("backup", "verify", "--repo", repo)
    assert found.exit_code == 1
    assert str(damaged) in found.stdout
    again = invoke("backup", "restore", second, "--repo", repo, "--out", tmp_path / "again")
    refuses(again, damaged.name)
    words = ("--repo", repo, "--out", tmp_path / "again", "--skip-damaged")
    assert invoke("backup", "restore", second, *words).exit_code == 3


def test_a_file_that_cannot_be_read(tree, tmp_path, monkeypatch):
    bad, real = tree / "one", os.open
    with closing(socket.socket(socket.AF_UNIX)) as server:
        monkeypatch.chdir(tree)
        server.bind("socket")

    def refuse(path, *rest, **more):
        if os.fspath(path) in (str(bad), str(tree / "d0 ü" / "other name")):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    done = invoke("backup", "create", tree, "--repo", tmp_path / "repo", *OWN)
    assert done.exit_code == 3
    assert "Permission denied" in done.stdout
    assert f"{tree / 'socket'}: a socket" in done.stdout
    listed = invoke("backup", "list", "--repo", tmp_path / "repo", "--json")
    assert json.loads(listed.stdout)[0]["left_out"] >= 1


def test_defaults_are_named_and_the_catalog_is_consistent(tmp_path, monkeypatch):
    database, here = tmp_path / "data" / "catalog.sqlite", tmp_path / "work"
    for name in ("data/outputs/run", "configs", "docs"):
        (here / name).mkdir(parents=True)
        (here / name / "file").write_text(name)
    (here / "notes").mkdir()
    (here / "notes" / MARKER).write_text("version: 1\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "run_meta.json").write_text("{}")
    monkeypatch.chdir(here)
    environment = {"MLX_PROBE_CATALOG": str(database)}
    with open_database(database) as opened:
        row = [os.fsencode(elsewhere / "run_meta.json"), "analyze", "2026", "{}"]
        opened.run("INSERT INTO runs VALUES (?, ?, ?, ?)", row)
        # Another process is in the middle of a change.
        opened.run("BEGIN IMMEDIATE")
        opened.run("DELETE FROM runs")
        done = invoke("backup", "create", "--repo", tmp_path / "repo", *OWN, **environment)
        assert done.exit_code == 0, done.output
        opened.run("ROLLBACK")
    for text in (
        "data/outputs  (runs)",
        "elsewhere  (runs)",
        "configs  (",
        "docs  (",
        "notes  (",
        "(catalog)",
    ):
        assert text in done.stdout
    invoke("backup", "restore", "latest", "--repo", tmp_path / "repo", "--out", tmp_path / "out")
    (copy,) = (tmp_path / "out").rglob("catalog-backup.sqlite")
    with closing(sqlite3.connect(copy)) as restored:
        assert restored.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    again = invoke("backup", "create", "--repo", tmp_path / "repo", "--json", **environment)
    assert json.loads(again.stdout)["added"] == 0


def test_prune_asks_and_says(tree, tmp_path):
    repo = tmp_path / "repo"
    for _ in range(3):
        invoke("backup", "create", tree, "--repo", repo, *OWN)
    words = ("backup", "prune", "--repo", repo, "--keep-last", "1")
    assert invoke(*words, "--dry-run").exit_code == 0
    refuses(invoke(*words), "no answer", code=2)
    refuses(invoke(*words, "--json"), "no answer", code=2)
    assert len(ids(repo)) == 3
    assert invoke(*words, "--yes").exit_code == 0
    assert len(ids(repo)) == 1
    assert "Removed" not in invoke(*words, "--yes").stdout


def test_a_drill_says_how_it_went(tree, tmp_path):
    repo = tmp_path / "repo"
    invoke("backup", "create", tree, "--repo", repo, *OWN)
    done = invoke("backup", "drill", "--repo", repo, "--seed", "4")
    assert done.exit_code == 0, done.output
    assert "seed 4" in done.stdout
    (report,) = (repo / "drills").iterdir()
    assert str(report) in done.stdout


def test_a_schedule_is_printed_and_not_installed(tree, tmp_path):
    words = ("backup", "schedule", tree, "--repo", tmp_path / "repo", "--at", "3:05")
    done = invoke(*words, "--scheduler", "cron", PATH=str(tmp_path))
    assert done.exit_code == 0, done.output
    assert f"backup create {tree} --repo {tmp_path / 'repo'}" in done.stdout
    refuses(invoke(*words, "--install", "--uninstall"), "together", code=2)


REFUSED = {
    "a path that is not there": (("create", "{tree}x"), "Did you mean", 2),
    "an archive that is not there": (("list",), "no backup archive", 2),
    "another machine": (("list", "--repo", "sftp:host:/x"), "no folder of this machine", 2),
    "no rule": (("prune",), "no backup archive", 2),
    "no snapshot": (("restore", "x", "--out", "{tree}/new"), "no backup archive", 2),
}


@pytest.mark.parametrize(("words", "says", "code"), REFUSED.values(), ids=REFUSED)
def test_refusals(tree, tmp_path, words, says, code):
    words = [word.format(tree=tree) for word in words]
    more = () if "--repo" in words else ("--repo", tmp_path / "repo")
    refuses(invoke("backup", *words, *more), says, code=code)
    assert not (tmp_path / "repo").exists()


def test_weights_that_are_not_stored_are_said_everywhere(tree, tmp_path):
    import numpy as np
    from weightfiles import write_safetensors

    write_safetensors(tree / "model.safetensors", {"x": np.ones((99, 99), np.float32)})
    repo = tmp_path / "repo"
    words = ("--repo", repo, *OWN, "--weights-above", "20KB")
    assert "NOT stored" in invoke("backup", "create", tree, *words).stdout
    assert "1 (" in invoke("backup", "list", "--repo", repo).stdout
    (tree / "model.safetensors").unlink()
    done = invoke("backup", "restore", "latest", "--repo", repo, "--out", tmp_path / "out", "-q")
    assert "gone: fetch it again" in done.stdout
