"""Copies become links only where that is safe, and come back as they were."""

import hashlib
import os
import random
import stat

import pytest
from stores_on_disk import gguf_file, hub_model, ollama_model

from mlx_probe.core.errors import ResultError
from mlx_probe.library.catalog import (
    dedupe,
    find_duplicates,
    linking,
    load_models,
    plan_links,
    scan,
    settle,
    undo,
    undoable,
)
from mlx_probe.library.catalog import dedupe as dedupe_function
from mlx_probe.library.catalog.lock import alone

CONTENT = random.Random(0).randbytes(200_000)


def plant(root, name, content=CONTENT, mtime=10**9):
    path = root / name / "model.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    os.utime(path, (mtime, mtime))
    return path


@pytest.fixture
def three(tmp_path):
    return [plant(tmp_path / "models", name, mtime=10**9 + i) for i, name in enumerate("cab")]


def planned(database, root=None, symbolic=False):
    if root is not None:
        scan(database, [root])
    return plan_links(find_duplicates(database, load_models(database)).groups, symbolic)


def inodes(paths):
    return len({path.stat().st_ino for path in paths})


def digests(paths):
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


class Killed(BaseException):
    """What a test kills a command with: nothing in the program expects it."""


def test_a_copy_that_is_put_back_is_replaced_by_the_next_command(
    database, tmp_path, three, monkeypatch
):
    """A killed command has renamed the link; its path is a copy again before the next plan."""
    plan = planned(database, tmp_path / "models")

    def dies(*arguments):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(linking, "_put_back", dies)
        patched.setattr(linking, "_flush", dies)
        with pytest.raises(Killed):
            dedupe(database, plan)
    assert inodes(three) == 2
    settle(database)
    assert inodes(three) == 3
    assert len(dedupe(database, planned(database)).changed) == 2
    assert inodes(three) == 1


@pytest.mark.parametrize("symbolic", [False, True])
def test_there_and_back(database, tmp_path, three, symbolic):
    before = [path.stat() for path in three]
    for path in three[1:]:
        path.chmod(0o640)
    plan = planned(database, tmp_path / "models", symbolic)
    assert {link.keeper for link in plan.links} == {three[0]}
    assert plan.saves == 2 * len(CONTENT)
    done = dedupe_function(database, plan)
    assert (sorted(done.changed), done.skipped) == (sorted(three[1:]), [])
    assert done.saved == 2 * len(CONTENT)
    assert inodes(three) == 1
    assert [path.is_symlink() for path in three] == [False, symbolic, symbolic]
    assert digests(three) == {hashlib.sha256(CONTENT).hexdigest()}
    assert find_duplicates(database, load_models(database)).groups == []
    assert len(undoable(database)) == 2
    back = undo(database)
    assert (len(back.changed), back.skipped, back.saved) == (2, [], 2 * len(CONTENT))
    assert inodes(three) == 3
    assert not any(path.is_symlink() for path in three)
    assert digests(three) == {hashlib.sha256(CONTENT).hexdigest()}
    for path, was in zip(three[1:], before[1:], strict=True):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert path.stat().st_mtime_ns == was.st_mtime_ns
    assert undo(database).changed == []


def test_undo_takes_back_the_last_command_or_all(database, tmp_path, three):
    dedupe_function(database, planned(database, tmp_path / "models"))
    more = plant(tmp_path / "models", "more")
    os.utime(more, (2 * 10**9, 2 * 10**9))
    dedupe_function(database, planned(database, tmp_path / "models"))
    assert inodes([*three, more]) == 1
    assert undo(database).changed == [more]
    assert sorted(undo(database, everything=True).changed) == sorted(three[1:])
    assert inodes([*three, more]) == 4


def test_a_copy_that_changed_after_the_search_is_left_alone(database, tmp_path, three):
    plan = planned(database, tmp_path / "models")
    status = three[1].stat()
    three[1].write_bytes(b"y" + CONTENT[1:])
    os.utime(three[1], ns=(status.st_atime_ns, status.st_mtime_ns))
    done = dedupe_function(database, plan)
    assert done.changed == [three[2]]
    assert done.skipped == [(three[1], "its content is not that of the file that would stay")]
    assert three[1].read_bytes() == b"y" + CONTENT[1:]


def test_a_keeper_that_changed_after_the_search_keeps_nothing(database, tmp_path, three):
    plan = planned(database, tmp_path / "models")
    three[0].write_bytes(b"y" + CONTENT[1:])
    done = dedupe_function(database, plan)
    assert (done.changed, len(done.skipped)) == ([], 2)
    assert digests(three[1:]) == {hashlib.sha256(CONTENT).hexdigest()}


def test_a_name_that_promises_another_hash(database, home, tmp_path):
    """A blob that the disk spoilt: its name still says what it should be."""
    content = gguf_file(tmp_path / "w.gguf", rows=50_000).read_bytes()
    snapshot = hub_model(home / "hub", "o/m", {"w.gguf": content})
    blob = (snapshot / "w.gguf").resolve()
    blob.write_bytes(content[:200_000] + bytes([content[200_000] ^ 1]) + content[200_001:])
    copy = plant(tmp_path / "models", "m", content)
    scan(database, [tmp_path / "models"])
    scan(database)
    find_duplicates(database, load_models(database))
    plan = planned(database)
    assert [link.path for link in plan.links] == [copy]
    done = dedupe_function(database, plan)
    assert done.changed == []
    assert copy.read_bytes() == content
    assert planned(database).links == ()


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_that_is_being_written_is_left_alone(database, tmp_path, three, which):
    plan = planned(database, tmp_path / "models")
    with three[which].open("ab"):
        done = dedupe_function(database, plan)
    assert three[which] not in done.changed
    assert len(done.changed) == which
    assert {why for _, why in done.skipped} == {"a program has it open for writing"}


def test_a_file_that_is_read_may_be_replaced(database, tmp_path, three):
    plan = planned(database, tmp_path / "models")
    with three[1].open("rb") as reader:
        assert len(dedupe_function(database, plan).changed) == 2
        assert reader.read() == CONTENT


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_write_during_the_replacing_is_not_lost(database, tmp_path, three, monkeypatch, moment):
    """Into the copy, between its hash and its end: its bytes stay, the new ones."""
    plan = planned(database, tmp_path / "models")
    original = linking.Path.replace
    fresh = b"new" + CONTENT[3:]

    def replace(self, target):
        if self.name.endswith(".new") and target == three[1]:
            victim = three[1] if moment == "before" else self.with_suffix(".old")
            if moment == "before":
                victim.write_bytes(fresh)
                return original(self, target)
            result = original(self, target)
            victim.write_bytes(fresh)
            return result
        return original(self, target)

    monkeypatch.setattr(linking.Path, "replace", replace)
    done = dedupe_function(database, plan)
    assert done.changed == [three[2]]
    assert done.skipped == [(three[1], "a program wrote into it meanwhile")]
    assert three[1].read_bytes() == fresh
    assert list(tmp_path.rglob(".mlx-probe*")) == []


@pytest.mark.parametrize("name", ["link", "replace", "unlink"])
def test_a_system_that_refuses_leaves_everything_as_it_was(
    database, tmp_path, three, monkeypatch, name
):
    plan = planned(database, tmp_path / "models")

    def refuse(*arguments, **options):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(*((linking.os, "link") if name == "link" else (linking.Path, name)), refuse)
        if name == "unlink":
            # Its bytes are right; what is left over is cleared away the next time.
            done = dedupe_function(database, plan)
            assert len(done.skipped) == 2
        else:
            done = dedupe_function(database, plan)
            assert done.changed == []
            assert {why for _, why in done.skipped} == {"Operation not permitted"}
    assert digests(three) == {hashlib.sha256(CONTENT).hexdigest()}
    dedupe_function(database, plan_links([]))
    assert list(tmp_path.rglob(".mlx-probe*")) == []
    assert digests(three) == {hashlib.sha256(CONTENT).hexdigest()}


def test_the_hub_s_blob_is_replaced_and_not_its_link(database, home, tmp_path):
    content = gguf_file(tmp_path / "w.gguf").read_bytes()
    first = hub_model(home / "hub", "a/m", {"w.gguf": content})
    second = hub_model(home / "hub", "b/m", {"w.gguf": content})
    scan(database)
    plan = planned(database)
    (link,) = plan.links
    assert link.path.parent.name == link.keeper.parent.name == "blobs"
    assert len(dedupe_function(database, plan).changed) == 1
    assert (first / "w.gguf").is_symlink()
    assert (second / "w.gguf").is_symlink()
    assert (first / "w.gguf").samefile(second / "w.gguf")
    assert (second / "w.gguf").read_bytes() == content


def test_stores_get_no_symbolic_links(database, home, tmp_path, monkeypatch):
    monkeypatch.setenv("OLLAMA_MODELS", str(home / "ollama"))
    content = gguf_file(tmp_path / "w.gguf").read_bytes()
    ollama_model(home / "ollama", "tiny", [("model", content)])
    hub_model(home / "hub", "a/m", {"w.gguf": content})
    copy = plant(tmp_path / "models", "m", content)
    scan(database)
    scan(database, [tmp_path / "models"])
    plan = planned(database, symbolic=True)
    assert [link.path for link in plan.links] == [copy]
    ((path, why),) = plan.skipped
    assert path.parent.name == "blobs"
    assert why == "Ollama follows links when it removes files"


def test_what_others_may_read_stays_readable(database, tmp_path, three):
    three[0].chmod(0o600)
    three[1].chmod(0o644)
    three[2].chmod(0o600)
    plan = planned(database, tmp_path / "models")
    assert [link.path for link in plan.links] == [three[2]]
    assert plan.skipped == ((three[1], "may be read by more people than the copy that stays"),)


def test_a_copy_with_names_elsewhere_frees_nothing(database, tmp_path, three):
    os.link(three[1], tmp_path / "elsewhere")
    plan = planned(database, tmp_path / "models")
    assert [link.path for link in plan.links] == [three[2]]
    assert plan.skipped == ((three[1], "has 2 names of which the catalog knows 1"),)


def test_all_names_of_a_copy_are_replaced(database, tmp_path, three):
    other = tmp_path / "models" / "other" / "model.gguf"
    other.parent.mkdir()
    os.link(three[1], other)
    plan = planned(database, tmp_path / "models")
    assert plan.saves == 2 * len(CONTENT)
    done = dedupe_function(database, plan)
    assert (len(done.changed), done.saved) == (3, 2 * len(CONTENT))
    assert inodes([*three, other]) == 1


def test_a_link_that_was_replaced_since_is_not_taken_back(database, tmp_path, three):
    dedupe_function(database, planned(database, tmp_path / "models"))
    three[1].unlink()
    three[1].write_bytes(b"something new")
    os.link(three[1], tmp_path / "second")
    three[2].unlink()
    done = undo(database)
    assert done.changed == []
    assert sorted(why for _, why in done.skipped) == [
        "it does not exist any more",
        "it is no longer the link that was put there",
    ]
    assert three[1].read_bytes() == b"something new"


def test_links_whose_bytes_were_changed_are_not_taken_back(database, tmp_path, three):
    dedupe_function(database, planned(database, tmp_path / "models"))
    with three[0].open("r+b") as file:
        file.write(b"changed in place")
    done = undo(database)
    assert done.changed == []
    assert {why for _, why in done.skipped} == {
        "its content has changed since it became a link; nothing was undone"
    }
    assert list(tmp_path.rglob(".mlx-probe*")) == []


def test_taking_back_needs_space(database, tmp_path, three, monkeypatch):
    dedupe_function(database, planned(database, tmp_path / "models"))
    module = __import__("sys").modules["mlx_probe.library.catalog.dedupe"]
    usage = type("Usage", (), {"free": 2 * len(CONTENT) - 1})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ResultError, match="taking the links back needs"):
        undo(database)
    assert inodes(three) == 1


def test_an_interruption_leaves_the_copy(database, tmp_path, three, monkeypatch):
    plan = planned(database, tmp_path / "models")
    original = linking.hash_file

    def interrupt(path, *arguments):
        if path == three[1] and path.samefile(three[0]):
            raise KeyboardInterrupt
        return original(path, *arguments)

    monkeypatch.setattr(linking, "hash_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        dedupe_function(database, plan)
    assert inodes(three) == 3
    assert digests(three) == {hashlib.sha256(CONTENT).hexdigest()}
    assert list(tmp_path.rglob(".mlx-probe*")) == []


def test_one_at_a_time(database, three, tmp_path):
    plan = planned(database, tmp_path / "models")
    with alone(database.path), pytest.raises(ResultError, match="another mlx-probe"):
        dedupe(database, plan)
    assert inodes(three) == 3


def test_the_longest_names(database, tmp_path):
    names = [("x" * 250) + end for end in ("a", "b")]
    paths = []
    for name in names:
        path = tmp_path / "models" / name / (("y" * 250) + ".gguf")
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT)
        paths.append(path)
    plan = planned(database, tmp_path / "models")
    assert len(dedupe_function(database, plan).changed) == 1
    assert inodes(paths) == 1
