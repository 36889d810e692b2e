"""A restored tree is the tree that was backed up."""

import os
import random
import tempfile
from pathlib import Path

import pytest
from backups import age, back_up, facts, make_tree, restore, verify
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.backup import SILENT, choose_repository, pack, reading, resolve

NAMES = st.one_of(
    st.sampled_from([b"a", b"A", b" ", b"-rf", b"\n", b"\xff\xfe", b"..a", b"*?[x]", b"$HOME"]),
    st.text(min_size=1, max_size=12).map(lambda text: text.encode("utf-8", "replace")),
    st.binary(min_size=1, max_size=12),
).filter(lambda name: not {b"/"[0], 0} & set(name) and name not in (b".", b".."))
CONTENT = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\0" * 40, b"\0" * 41 + b"end", b"text " * 30]),
)
TREES = st.recursive(
    CONTENT, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
).filter(lambda tree: isinstance(tree, dict))


def grow(folder, tree):
    folder.mkdir()
    for name, inner in tree.items():
        path = folder / os.fsdecode(name)
        if isinstance(inner, dict):
            grow(path, inner)
        else:
            path.write_bytes(inner)


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "tree", random.Random(3))


@settings(max_examples=60)
@given(tree=TREES)
def test_any_tree_comes_back(tree):
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        for module in (pack, reading):
            patch.setattr(module, "CHUNK", 16)
        patch.setattr("mlx_probe.library.backup.restore.CHUNK", 16)
        patch.setattr(reading, "_ZEROS", bytes(16))
        root = Path(scratch)
        grow(root / "tree", tree)
        created = back_up(root / "repo", root / "tree")
        assert not created.left_out
        restore(root / "repo", root / "out")
        assert facts(root / "out" / "tree") == facts(root / "tree")
        assert not verify(root / "repo").damage


def test_modes_times_links_and_holes_come_back(tree, tmp_path):
    back_up(tmp_path / "repo", tree)
    restored = restore(tmp_path / "repo", tmp_path / "out")
    assert facts(tmp_path / "out" / "tree") == facts(tree)
    holes = (tmp_path / "out" / "tree" / "holes").stat()
    assert holes.st_blocks * 512 < holes.st_size
    assert restored.files == created_files(tree)


def created_files(tree):
    inodes = {p.lstat().st_ino for p in tree.rglob("*") if p.is_file() and not p.is_symlink()}
    return len(inodes)


def test_paths_are_below_the_common_folder(tmp_path):
    for name in ("a/one/x", "a/two/deep/y", "a/two/other/z"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
    age(tmp_path / "a" / "two", 10**18)
    back_up(tmp_path / "repo", tmp_path / "a/one", tmp_path / "a/two/deep", tmp_path / "a/one/x")
    restore(tmp_path / "repo", tmp_path / "out")
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*")}
    assert found == {"one", "one/x", "two", "two/deep", "two/deep/y"}
    assert (tmp_path / "out" / "two").stat().st_mtime_ns == 10**18


def test_an_unchanged_file_is_not_read_again(tree, tmp_path):
    before = tmp_path / "earlier"
    first = back_up(tmp_path / "repo", tree)
    # Files as recent as this are read once more.
    assert back_up(tmp_path / "repo", tree).read in (0, first.read)
    assert back_up(tmp_path / "repo", tree).added == 0
    assert not before.exists()


def test_a_change_is_read_and_the_rest_is_not(tree, tmp_path, monkeypatch):
    monkeypatch.setattr("mlx_probe.library.backup.create._TICK", 0)
    back_up(tmp_path / "repo", tree)
    (tree / "one").write_text("changed")
    created = back_up(tmp_path / "repo", tree)
    assert (created.read, created.added) == (1, len("changed"))
    again = back_up(tmp_path / "repo", tree, rescan=True)
    assert again.read > 20
    assert again.added == 0
    restore(tmp_path / "repo", tmp_path / "out")
    assert facts(tmp_path / "out" / "tree") == facts(tree)


def test_equal_content_is_stored_once(tmp_path, monkeypatch):
    noise = random.Random(0).randbytes(3 * pack.CHUNK + 5)
    (tmp_path / "tree").mkdir()
    for name in "abc":
        (tmp_path / "tree" / name).write_bytes(noise)
    created = back_up(tmp_path / "repo", tmp_path / "tree")
    assert created.added < len(noise) * 1.01
    restore(tmp_path / "repo", tmp_path / "out")
    assert (tmp_path / "out/tree/c").read_bytes() == noise


def test_a_file_that_changes_is_stored_and_reported(tmp_path, monkeypatch):
    log = tmp_path / "tree" / "log"
    log.parent.mkdir()
    log.write_text("line\n")
    real = reading._read_at

    def growing(descriptor, begin, length):
        data = real(descriptor, begin, length)
        with log.open("a") as file:
            file.write("more\n")
        return data

    monkeypatch.setattr(reading, "_read_at", growing)
    created = back_up(tmp_path / "repo", log.parent)
    assert [(each.path, each.is_lost) for each in created.left_out] == [(str(log), True)]
    assert created.snapshot.totals.left_out == 1
    restore(tmp_path / "repo", tmp_path / "out")
    text = (tmp_path / "out" / "tree" / "log").read_text()
    assert text.startswith("line\nmore\n")
    assert log.read_text().startswith(text)


def test_the_archive_in_the_tree_is_left_out(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "x").write_text("x")
    for _ in range(2):
        created = back_up(tmp_path / "tree" / "repo", tmp_path / "tree")
    assert created.snapshot.totals.files == 1


@pytest.mark.parametrize("name", ["repo", "repo/packs"])
def test_the_archive_is_no_path(tmp_path, name):
    (tmp_path / "x").write_text("x")
    back_up(tmp_path / "repo", tmp_path / "x")
    with pytest.raises(ConfigError, match="is in the archive"):
        resolve([tmp_path / name], tmp_path / "repo")


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "mine").write_text("x")
    for kind in ("own", "restic"):
        with pytest.raises(ResultError, match="not empty"):
            choose_repository(tmp_path / "repo", kind)
    assert (tmp_path / "repo" / "mine").read_text() == "x"


def test_out_is_never_written_over(tmp_path):
    (tmp_path / "x").write_text("x")
    back_up(tmp_path / "repo", tmp_path / "x")
    full, link = tmp_path / "full", tmp_path / "link"
    full.mkdir()
    (full / "mine").write_text("y")
    (tmp_path / "empty").mkdir()
    link.symlink_to(tmp_path / "empty")
    for out in (full, full / "mine", link):
        with pytest.raises(ConfigError, match="not an empty folder"):
            restore(tmp_path / "repo", out)
    restore(tmp_path / "repo", tmp_path / "empty")
    assert (tmp_path / "empty" / "x").read_text() == "x"


def test_a_full_disk_leaves_the_archive_sound(tree, tmp_path, monkeypatch):
    back_up(tmp_path / "repo", tree / "one")
    real = Path.write_bytes

    def full(path, data):
        if ".pack" in path.name:
            real(path, data[:100])
            raise OSError(28, "No space left on device", str(path))
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ResultError, match="No space left") as refused:
            back_up(tmp_path / "repo", tree)
    assert "prune" in refused.value.remedy
    found = verify(tmp_path / "repo")
    assert (found.damage, found.notes, found.snapshots) == ((), (), 1)
    back_up(tmp_path / "repo", tree)
    restore(tmp_path / "repo", tmp_path / "out")
    assert facts(tmp_path / "out" / "tree") == facts(tree)


def test_one_writes_at_a_time_and_nobody_is_there_while_something_is_removed(tmp_path):
    (tmp_path / "x").write_text("x")
    back_up(tmp_path / "repo", tmp_path / "x")
    archive = choose_repository(tmp_path / "repo", None)._archive
    for holder, refused in (("write", ["write", "remove"]), ("remove", ["read", "write"])):
        with archive.locked(holder):
            for use in refused:
                with pytest.raises(ResultError, match="at work"), archive.locked(use):
                    pass
    with archive.locked("write"):
        restore(tmp_path / "repo", tmp_path / "out")
        assert choose_repository(tmp_path / "repo", None).verify(SILENT).damage == ()
