"""File primitives against what goes wrong: full disks, kills, torn lines, changed permissions."""

import errno
import hashlib
import os
import re
import stat

import pytest

from mlx_probe.core import files
from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import (
    LineWriter,
    atomic_replace,
    read_blocks,
    replacing,
    sha256_file,
    sha256_of,
    whole_lines,
    write_all,
    write_text,
)
from mlx_probe.core.paths import keep_json


@pytest.fixture(params=["beside", "scratch"])
def replace(request, tmp_path):
    """`atomic_replace` in both of its ways."""
    scratch = None if request.param == "beside" else tmp_path
    return lambda path, **options: atomic_replace(path, scratch=scratch, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refuse(number):
    def refuses(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return refuses


class FullDisk:
    """An unbuffered file that takes 3 bytes at a time, until there is no room."""

    def __init__(self, file, room):
        self._file, self._room = file, room
        self.fileno = file.fileno

    def write(self, data):
        if not self._room:
            refuse(errno.ENOSPC)()
        count = self._file.write(data[: min(3, self._room)])
        self._room -= count
        return count


@pytest.mark.parametrize("flush", [True, False])
def test_the_new_file_is_there_only_at_the_end(replace, tmp_path, flush):
    path = tmp_path / "table"
    path.write_text("old")
    with replace(path, flush=flush) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.stat().st_dev == path.stat().st_dev
    assert path.read_text() == "new"
    assert names(tmp_path) == ["table"]


@pytest.mark.parametrize("flush", [True, False])
def test_the_content_is_on_the_disk_before_it_has_its_name(replace, tmp_path, monkeypatch, flush):
    path, flushed = tmp_path / "table", []
    original = os.fsync

    def fsync(descriptor):
        flushed.append((os.fstat(descriptor).st_size, path.exists()))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with replace(path, flush=flush) as temporary:
        temporary.write_text("new")
    assert flushed == ([(3, False)] if flush else [])


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError()]
)
def test_a_failure_while_writing_leaves_the_old_file(replace, tmp_path, error):
    path = tmp_path / "table"
    path.write_text("old")

    def write():
        with replace(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(type(error)) as raised:
        write()
    assert raised.value is error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_after_writing_leaves_the_old_file(replace, tmp_path, monkeypatch, step):
    path = tmp_path / "table"
    path.write_text("old")
    # Python versions differ in which of the two a path's `replace` calls.
    for name in ("rename", "replace") if step == "replace" else (step,):
        monkeypatch.setattr(os, name, refuse(errno.EIO))
    with (
        pytest.raises(OSError, match=re.escape(os.strerror(errno.EIO))),
        replace(path) as temporary,
    ):
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table"]


def test_what_a_kill_left_behind_goes_with_the_next_attempt(tmp_path):
    path = tmp_path / "table"
    with atomic_replace(path) as temporary:
        left = temporary
        temporary.write_text("whole")
    left.write_text("half of a lo")
    with atomic_replace(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["table"]


def test_a_link_is_replaced_and_not_followed(replace, tmp_path):
    target, path = tmp_path / "target", tmp_path / "table"
    target.write_text("theirs")
    path.symlink_to(target)
    with replace(path) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "theirs"
    assert not path.is_symlink()


def test_a_link_can_be_the_new_file(tmp_path):
    path = tmp_path / "name"
    with atomic_replace(path, scratch=tmp_path, flush=False) as temporary:
        temporary.symlink_to("nowhere")
    assert os.readlink(path) == "nowhere"  # noqa: PTH115  as it was written
    assert names(tmp_path) == ["name"]


def test_the_users_umask_decides_who_may_read(replace, tmp_path):
    before = os.umask(0o027)
    try:
        with replace(tmp_path / "table") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "table").stat().st_mode) == 0o640


def test_two_at_a_time_in_a_scratch_folder_do_not_meet(tmp_path):
    path = tmp_path / "entry"
    with atomic_replace(path, scratch=tmp_path) as one, atomic_replace(path, tmp_path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free space on that disk"),
        (errno.EIO, "Check the disk"),
        (errno.EXDEV, "--out"),
    ],
)
def test_a_refusal_names_the_file_and_what_helps(tmp_path, monkeypatch, number, remedy):
    path = tmp_path / "table.csv"
    monkeypatch.setattr(os, "fsync", refuse(number))
    with pytest.raises(ResultError, match=re.escape(os.strerror(number))) as error:
        write_text(path, "text")
    assert str(path) in error.value.fact
    assert remedy in error.value.remedy
    assert names(tmp_path) == []


def test_of_several_that_are_written_together_none_stays(tmp_path):
    def write():
        with replacing(tmp_path / "a") as a, replacing(tmp_path / "b"):
            a.write_text("new")
            refuse(errno.ENOSPC)()

    with pytest.raises(ResultError, match="cannot write"):
        write()
    assert names(tmp_path) == []


def test_write_text_makes_its_folder_or_says_why_not(tmp_path):
    path = tmp_path / "new" / "folder" / "page.md"
    write_text(path, "\ud800 é", errors="backslashreplace")
    assert path.read_bytes() == "\\ud800 é".encode()
    with pytest.raises(ResultError, match=re.escape(f"cannot write {path / 'below'}")) as error:
        write_text(path / "below" / "page.md", "text")
    assert "folders" in error.value.remedy


def test_what_can_be_had_again_may_fail_to_be_kept(tmp_path, monkeypatch):
    path = tmp_path / "cache" / "entry.json"
    keep_json(path, [1])
    monkeypatch.setattr(files.Path, "replace", refuse(errno.ENOSPC))
    keep_json(path, [2])
    assert path.read_text() == "[\n  1\n]\n"
    assert names(path.parent) == ["entry.json"]


@pytest.mark.parametrize("size", [0, 1, files.BLOCK - 1, files.BLOCK, 3 * files.BLOCK + 7])
def test_hashes_are_those_of_the_whole_in_bounded_memory(tmp_path, size):
    path, seen = tmp_path / "file", []
    content = os.urandom(size)
    path.write_bytes(content)
    assert sha256_file(path, seen.append) == hashlib.sha256(content).hexdigest()
    assert sum(seen) == size
    assert max(seen, default=0) <= files.BLOCK
    with path.open("rb") as file:
        file.seek(size // 2)
        assert sha256_of(file) == hashlib.sha256(content[size // 2 :]).hexdigest()
        file.seek(0)
        memory = {id(block.obj) for block in read_blocks(file)}
    assert len(memory) <= 1


def test_progress_comes_after_each_block_and_may_end_the_work(tmp_path):
    path, order = tmp_path / "file", []
    path.write_bytes(bytes(2 * files.BLOCK))

    def stop(count):
        order.append("progress")
        raise KeyboardInterrupt

    def read():
        with path.open("rb") as file:
            for _block in read_blocks(file, stop):
                order.append("block")

    with pytest.raises(KeyboardInterrupt):
        read()
    assert order == ["block", "progress"]


def test_every_byte_is_written_though_the_disk_takes_a_part(tmp_path):
    with (tmp_path / "file").open("wb", buffering=0) as file:
        write_all(FullDisk(file, 100), b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_lines_are_appended_with_their_offsets(tmp_path):
    path = tmp_path / "lines"
    writer = LineWriter(path.open("ab", buffering=0), 0)
    begins = [*writer.append("{}", '{"a": 1}'), *writer.append("")]
    writer.close()
    content = path.read_bytes()
    assert content == b'{}\n{"a": 1}\n\n'
    assert [content[begin:].partition(b"\n")[0] for begin in begins] == [b"{}", b'{"a": 1}', b""]
    assert writer.end == len(content)


@pytest.mark.parametrize("room", range(6))
def test_a_full_disk_leaves_no_half_line(tmp_path, room):
    path = tmp_path / "lines"
    path.write_bytes(b"first\n")
    with path.open("ab", buffering=0) as file:
        writer = LineWriter(FullDisk(file, room), 6)
        with pytest.raises(OSError, match=re.escape(os.strerror(errno.ENOSPC))):
            writer.append("second", "lost")
        assert path.read_bytes() == b"first\n"
        assert LineWriter(file, writer.end).append("third") == [6]
    assert path.read_bytes() == b"first\nthird\n"


@pytest.mark.parametrize("cut", range(1, 19))
def test_a_torn_last_line_is_skipped_and_cut_off(tmp_path, cut):
    path = tmp_path / "lines"
    whole = b"first\nsecond\nthird\n"
    path.write_bytes(whole[:cut])
    with path.open("rb") as file:
        lines = list(whole_lines(file))
    assert b"".join(lines) == whole[:cut][: whole[:cut].rfind(b"\n") + 1]
    with path.open("ab", buffering=0) as file:
        LineWriter(file, sum(map(len, lines))).append("next")
    assert path.read_bytes() == b"".join(lines) + b"next\n"


def test_the_rest_of_a_torn_line_is_no_line():
    # What a reader gets from a file that grows between two reads.
    assert list(whole_lines(iter([b"first\n", b"sec", b"ond\n"]))) == [b"first\n"]
