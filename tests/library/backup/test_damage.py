"""What is damaged is found and named, and nothing damaged or hostile is restored."""

import dataclasses
import gzip
import hashlib
import json
import random
import shutil

import pytest
from backups import back_up, every_file, facts, make_tree, restore, verify

from mlx_probe.core.errors import ConfigError, ProbeError
from mlx_probe.library.backup import SILENT, DrillConfig, Keep, choose_repository
from mlx_probe.library.backup.records import ArchiveDamage


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An archive with two snapshots, a drill, and an interrupted backup's pack."""
    root = tmp_path_factory.mktemp("small")
    tree = make_tree(root / "tree", random.Random(5), files=8)
    back_up(root / "repo", tree)
    (tree / "later").write_bytes(random.Random(6).randbytes(400))
    back_up(root / "repo", tree)
    choose_repository(root / "repo", None).drill(DrillConfig(1), SILENT)
    return root


@pytest.fixture
def repo(small, tmp_path):
    return shutil.copytree(small / "repo", tmp_path / "repo")


def test_a_sound_archive_is_sound(small):
    found = verify(small / "repo")
    assert (found.damage, found.notes, found.snapshots) == ((), (), 2)


def test_a_flipped_byte_anywhere_is_found_and_named(repo):
    """Every file, several offsets; with what needs it."""
    files = every_file(repo)
    assert len(files) >= 8
    chance = random.Random(0)
    for path in files:
        content = path.read_bytes()
        last = len(content) - 1
        for at in {0, last, last // 2, *(chance.randint(0, last) for _ in range(3))}:
            changed = bytearray(content)
            changed[at] ^= 1 << chance.randrange(8)
            path.write_bytes(changed)
            named = {each.file for each in verify(repo).damage}
            assert str(path.relative_to(repo)) in named, (path, at)
        path.write_bytes(content)
    assert not verify(repo).damage


def test_a_missing_or_shorter_file_is_found_and_named(repo):
    for path in every_file(repo):
        if path.parent.name == "drills":
            continue  # a report that is gone is no damage to the backup
        name, content = str(path.relative_to(repo)), path.read_bytes()
        path.unlink()
        assert name in {each.file for each in verify(repo).damage}
        path.write_bytes(content[:-1])
        assert name in {each.file for each in verify(repo).damage}
        path.write_bytes(content)


@pytest.mark.parametrize("names", [("packs",), ("packs", "snapshots"), ("packs", "README.txt")])
def test_an_archive_that_was_killed_while_it_was_made_is_sound(repo, tmp_path, names):
    for name in names:
        new = tmp_path / "new" / name
        new.parent.mkdir(exist_ok=True)
        new.write_bytes((repo / name).read_bytes()) if "." in name else new.mkdir()
    assert not verify(tmp_path / "new").damage
    assert choose_repository(tmp_path / "new", None).kind == "own"
    back_up(tmp_path / "new", repo / "README.txt")
    assert verify(tmp_path / "new").snapshots == 1


def test_damage_says_what_needs_it(repo):
    packs = sorted(repo.glob("packs/??/*.pack"), key=lambda p: p.stat().st_size)
    content = bytearray(packs[-1].read_bytes())
    content[40] ^= 1
    packs[-1].write_bytes(content)
    (damage,) = verify(repo).damage
    assert damage.concerns
    # One of the chunks, so not all files.
    assert all(": tree/" in text for text in damage.concerns)
    assert len({text.split(": ", 1)[1] for text in damage.concerns}) < 8


def test_strange_files_are_named_and_no_damage(repo):
    (repo / "packs" / "mine.txt").write_text("x")
    found = verify(repo)
    assert not found.damage
    assert any("packs/mine.txt" in note for note in found.notes)


def test_a_damaged_file_is_not_restored_and_the_rest_can_be(small, repo, tmp_path):
    pack = max(repo.glob("packs/??/*.pack"), key=lambda p: p.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[40] ^= 1
    pack.write_bytes(content)
    out = tmp_path / "out"
    with pytest.raises(ArchiveDamage, match=pack.name):
        restore(repo, out)
    assert not out.exists()
    restored = restore(repo, out, skip_damaged=True)
    assert restored.lost
    there, was = facts(out / "tree", times=False)[0], facts(small / "tree", times=False)[0]
    assert there.items() <= was.items()
    assert 0 < len(was) - len(there) <= 2 * len(restored.lost)
    drill = choose_repository(repo, None).drill(DrillConfig(2), SILENT)
    assert drill.failed


def test_a_lost_pack_is_made_good_by_the_next_backup(small, repo, tmp_path):
    for pack in repo.glob("packs/??/*.pack"):
        pack.unlink()
    assert verify(repo).damage
    back_up(repo, small / "tree")
    assert not verify(repo).damage
    restore(repo, tmp_path / "out")
    assert facts(tmp_path / "out" / "tree") == facts(small / "tree")


def test_nothing_is_removed_from_a_damaged_archive(repo):
    manifest = next(repo.glob("snapshots/*.gz"))
    manifest.write_bytes(manifest.read_bytes()[:-3])
    before = every_file(repo)
    with pytest.raises(ArchiveDamage, match="nothing is removed"):
        choose_repository(repo, None).prune(Keep(last=1), is_dry=False)
    assert every_file(repo) == before


def test_prune_removes_what_nothing_needs(small, repo, tmp_path):
    repository = choose_repository(repo, None)
    plan = repository.prune(Keep(last=1), is_dry=True)
    assert len(repository.snapshots()[0]) == 2
    done = repository.prune(Keep(last=1), is_dry=False)
    assert done == plan
    assert [len(done.kept), len(done.removed)] == [1, 1]
    found = verify(repo)
    assert (found.damage, found.notes, found.snapshots) == ((), (), 1)
    restore(repo, tmp_path / "out")
    assert facts(tmp_path / "out" / "tree") == facts(small / "tree")


def test_prune_writes_packs_again_of_which_little_is_needed(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    chance = random.Random(1)
    for n in range(10):
        (tree / f"{n}").write_bytes(chance.randbytes(10_000))
    back_up(tmp_path / "repo", tree)
    for n in range(8):
        (tree / f"{n}").unlink()
    back_up(tmp_path / "repo", tree)
    size = sum(path.stat().st_size for path in every_file(tmp_path / "repo"))
    pruning = choose_repository(tmp_path / "repo", None).prune(Keep(last=1), is_dry=False)
    after = sum(path.stat().st_size for path in every_file(tmp_path / "repo"))
    assert pruning.freed >= 80_000
    assert size - after >= 80_000
    assert not verify(tmp_path / "repo").damage
    restore(tmp_path / "repo", tmp_path / "out")
    assert facts(tmp_path / "out" / "tree") == facts(tree)


def forge(repo, edit):
    """A manifest with other entries whose hash is its name."""
    path = next(repo.glob("snapshots/*.gz"))
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    content = gzip.compress("".join(json.dumps(each) + "\n" for each in edit(lines)).encode())
    name = hashlib.sha256(content).hexdigest()[:16]
    path.with_name(f"{name}.jsonl.gz").write_bytes(content)
    return name


FILE = {"type": "file", "mode": 0o644, "sha256": hashlib.sha256().hexdigest()}
HOSTILE = {
    "up": [{"path": "../x", **FILE}],
    "up inside": [{"path": "tree/../../x", **FILE}],
    "absolute": [{"path": "/tmp/x", **FILE}],
    "empty": [{"path": "", **FILE}],
    "null byte": [{"path": "a\0b", **FILE}],
    "through a link": [
        {"path": "a", "type": "symlink", "target": "/tmp"},
        {"path": "a/x", **FILE},
    ],
    "a link that was a folder": [
        {"path": "a", "type": "folder"},
        {"path": "a", "type": "symlink", "target": "/tmp"},
        {"path": "a/x", **FILE},
    ],
    "a hard link out": [{"path": "a", "type": "hardlink", "target": "../../x"}],
    "a hard link to a link": [
        {"path": "a", "type": "symlink", "target": "/etc/passwd"},
        {"path": "b", "type": "hardlink", "target": "a"},
    ],
    "another type": [{"path": "a", "type": "device"}],
    "another field": [{"path": "a", "type": "folder", "run": "x"}],
    "a number for a path": [{"path": 7, "type": "folder"}],
    "a negative size": [{"path": "a", **FILE, "size": -1}],
    "another hash": [{"path": "a", **FILE, "sha256": "0" * 64}],
    "a short hash": [{"path": "a", **FILE, "sha256": "12"}],
    "endless zeros": [{"path": "a", **FILE, "size": 5, "chunks": [10**12]}],
    "no list": [3],
}


@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_manifest_writes_nothing_outside(repo, tmp_path, entries):
    out = tmp_path / "place" / "out"
    name = forge(repo, lambda lines: [lines[0], *entries, lines[-1]])
    before = {*every_file(tmp_path)}
    with pytest.raises(ProbeError):
        restore(repo, out, name)
    assert not out.exists()
    inside = {p for p in every_file(tmp_path) if ".out.restoring" in str(p)}
    assert {*every_file(tmp_path)} - inside == before


def test_a_newer_format_is_said(repo, tmp_path):
    name = forge(repo, lambda lines: [{**lines[0], "version": 2}, *lines[1:]])
    with pytest.raises(ArchiveDamage, match="version 2"):
        restore(repo, tmp_path / "out", name)


@pytest.mark.parametrize("name", ["", "zzz", "../config.json", "*"])
def test_a_snapshot_that_is_not_there(repo, tmp_path, name):
    with pytest.raises(ConfigError, match="no snapshot"):
        restore(repo, tmp_path / "out", name)


def test_a_drill_compares_with_the_disk_and_keeps_its_report(small, repo):
    repository = choose_repository(repo, None)
    drill = repository.drill(DrillConfig(7), SILENT)
    assert (drill.failed, drill.changed) == ((), 0)
    assert drill.same == drill.files > 5
    again = repository.drill(DrillConfig(7, files=3), SILENT)
    assert (again.snapshot, again.files) == (drill.snapshot, 3)
    assert json.loads(drill.report.read_text())["passed"] is True
    assert dataclasses.asdict(drill)["seed"] == 7


def test_a_drill_notices_rot_on_the_disk(tmp_path, monkeypatch):
    """The same times, other bytes."""
    (tmp_path / "x").write_text("good")
    back_up(tmp_path / "repo", tmp_path / "x")
    (tmp_path / "x").write_text("evil")
    monkeypatch.setattr("mlx_probe.library.backup.drill.is_same", lambda entry, status: True)
    drill = choose_repository(tmp_path / "repo", None).drill(DrillConfig(1), SILENT)
    assert [each.path for each in drill.failed] == ["x"]
