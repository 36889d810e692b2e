"""Archives of restic: the real one where it is installed, and what is asked of it where not."""

import hashlib
import os
import random
import shutil

import numpy as np
import pytest
from backups import back_up, every_file, facts, make_tree, restore, verify
from weightfiles import write_safetensors

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.backup import (
    SILENT,
    DrillConfig,
    Keep,
    check_weights,
    choose_repository,
    open_repository,
)
from mlx_probe.library.backup.restic import Restic
from mlx_probe.library.backup.restic_program import KEY_FILE
from mlx_probe.library.backup.restic_text import pattern_of

needs_restic = pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")


@pytest.fixture(autouse=True)
def no_password(monkeypatch, tmp_path):
    for name in ("RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RESTIC_CACHE_DIR", str(tmp_path / "cache"))


def fake(folder, monkeypatch, code=0, error=""):
    """A restic that writes down what it was asked, and makes an archive of one file."""
    program = folder / "bin" / "restic"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{folder}/calls\n'
        f'echo "$RESTIC_PASSWORD_FILE" >>{folder}/passwords\n'
        'case "$3" in\n'
        '  init) mkdir -p "$2/keys"; echo x >"$2/config";;\n'
        """  snapshots) echo '[{"id": "abc1", "short_id": "abc1", "time": \
"2026-01-02T03:04:05.123456789+01:00", "paths": ["/a/b"], "tags": ["files=3", "bytes=9"]}]';;\n"""
        """  backup) echo '{"message_type": "summary", "snapshot_id": "abc1"}';;\n"""
        f"esac\necho '{error}' >&2\nexit {code}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return lambda: (folder / "calls").read_text().splitlines()


def test_a_new_archive_is_one_of_restic_where_that_is_installed(tmp_path, monkeypatch):
    calls = fake(tmp_path, monkeypatch)
    repository = choose_repository(tmp_path / "repo", None)
    assert repository.kind == "restic"
    assert calls() == [f"-r {tmp_path / 'repo'} init"]
    key = tmp_path / "repo" / KEY_FILE
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "passwords").read_text() == f"{key}\n"
    (snapshot,) = repository.snapshots()[0]
    assert (snapshot.id, snapshot.time) == ("abc1", "2026-01-02T02:04:05.123+00:00")
    assert (snapshot.base, snapshot.totals.files, snapshot.totals.size) == ("/a", 3, 9)


def test_the_kind_is_recognized_and_not_mixed(tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch)
    (tmp_path / "x").write_text("x")
    back_up(tmp_path / "own", tmp_path / "x")
    assert choose_repository(tmp_path / "own", None).kind == "own"
    Restic.make(tmp_path / "repo")
    assert open_repository(tmp_path / "repo").kind == "restic"
    for name, kind in (("own", "restic"), ("repo", "own")):
        with pytest.raises(ConfigError, match="of the kind"):
            choose_repository(tmp_path / name, kind)


def test_own_where_restic_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_repository(tmp_path / "repo", None).kind == "own"
    with pytest.raises(ResultError, match="cannot be started"):
        choose_repository(tmp_path / "other", "restic")


def test_the_users_password_is_not_replaced(tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch)
    monkeypatch.setenv("RESTIC_PASSWORD_FILE", "mine")
    Restic.make(tmp_path / "repo")
    assert not (tmp_path / "repo" / KEY_FILE).exists()
    assert (tmp_path / "passwords").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("error", "fact"),
    [
        ("Fatal: an empty password is not a password", "needs its password"),
        ("Fatal: wrong password or no key found", "the password of"),
        ("Fatal: the disk is on fire", "the disk is on fire"),
    ],
)
def test_a_failure_of_restic_is_said(tmp_path, monkeypatch, error, fact):
    monkeypatch.setenv("RESTIC_PASSWORD", "mine")
    fake(tmp_path, monkeypatch, code=1, error=error)
    (tmp_path / "repo" / "keys").mkdir(parents=True)
    (tmp_path / "repo" / "config").write_text("x")
    with pytest.raises(ResultError, match=fact):
        open_repository(tmp_path / "repo").snapshots()


def test_a_pattern_takes_nothing_else():
    assert pattern_of("/a [1]*?\\$HOME") == "/a \\[1]\\*\\?\\\\$$HOME"
    with pytest.raises(ConfigError, match="line break"):
        pattern_of("/a\nb")


def test_damage_of_an_archive_of_restic_is_named(tmp_path, monkeypatch):
    """Without restic's own word: files are named by their hashes."""
    fake(tmp_path, monkeypatch)
    repo = tmp_path / "repo"
    Restic.make(repo)
    for name in ("data/ab", "index", "keys", "snapshots"):
        content = name.encode() * 20
        path = repo / name / hashlib.sha256(content).hexdigest()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert not verify(repo).damage
    for path in every_file(repo):
        if path.name == "config":
            continue
        whole = path.read_bytes()
        content = bytearray(whole)
        content[-1] ^= 1
        path.write_bytes(content)
        assert [each.file for each in verify(repo).damage] == [str(path.relative_to(repo))]
        path.write_bytes(whole)


@needs_restic
def test_restic_keeps_the_contract(tmp_path):
    """Ids, layout, verify, weights and drill as with an archive of ours."""
    tree, repo = make_tree(tmp_path / "tree", random.Random(2), files=12), tmp_path / "repo"
    weights = tree / "we [ir]d $HOME.safetensors"
    write_safetensors(weights, {"x.weight": np.ones((400, 400), np.float32)})
    created = back_up(repo, tree, kind="restic", large=600_000)
    assert [each.path for each in created.weights] == [f"tree/{weights.name}"]
    repository = open_repository(repo)
    assert [each.id for each in repository.snapshots()[0]] == [created.snapshot.id]
    restored = restore(repo, tmp_path / "out", created.snapshot.id[:8])
    (check,) = check_weights(restored.weights, restored.snapshot.base)
    assert (check.state, check.path) == ("there", weights)
    there, was = facts(tmp_path / "out" / "tree"), facts(tree)
    assert {*was[0]} - {*there[0]} == {os.fsencode(weights.name)}
    assert there[0].items() <= was[0].items()
    assert there[1] == was[1]
    drill = repository.drill(DrillConfig(1, files=4), SILENT)
    assert (drill.failed, drill.files, drill.same) == ((), 4, 4)
    assert not verify(repo).damage
    config = repo / "config"
    content = bytearray(config.read_bytes())
    content[20] ^= 1
    config.chmod(0o600)
    config.write_bytes(content)
    assert [each.file for each in verify(repo).damage] == ["config"]


def test_prune_leaves_snapshots_of_others_alone(tmp_path, monkeypatch):
    calls = fake(tmp_path, monkeypatch)
    Restic.make(tmp_path / "repo")
    rows = []
    for n in (1, 2):
        tags = {"ours": ["mlx-probe", f"list={n}list"], "list": ["mlx-probe-weights"]}
        for kind in ("ours", "list", "theirs"):
            about = {"time": f"2026-01-0{n}T00:00:00.0Z", "paths": ["/a"], "tags": tags.get(kind)}
            rows.append({"id": f"{n}{kind}", "short_id": f"{n}{kind}", **about})
    monkeypatch.setattr(Restic, "_rows", lambda self: rows)
    pruning = open_repository(tmp_path / "repo").prune(Keep(last=1), is_dry=False)
    assert [each.id for each in pruning.removed] == ["1ours"]
    assert calls()[-1].endswith("forget --prune 1ours 1list")
