"""Zip archives: the positions of their members, read from the directory at the end.

We parse it ourselves: the zipfile module trusts the directory. It does not limit the number of
members, allows them to overlap, and unpacks what we only want to map.

Source: PKWARE, APPNOTE.TXT, version 6.3.10.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from struct import Struct
from typing import BinaryIO, NamedTuple

from mlx_probe.core.errors import damaged

__all__ = ["DEFLATED", "STORED", "Archive", "Member"]

STORED, DEFLATED = 0, 8
# More than the tensors of any model. A member takes about as much memory as its directory entry.
MAX_MEMBERS = 1 << 18
MAX_DIRECTORY = 1 << 26
# deflate stores at most 258 bytes in two bits.
_MAX_RATIO = 1032

_END = Struct("<4s4H2IH")
_LOCATOR = Struct("<4sIQI")
_END64 = Struct("<4sQ2H2I4Q")
_ENTRY = Struct("<4s6H3I5H2I")
_LOCAL = Struct("<4s5H3I2H")
_EXTRA = Struct("<2H")
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_UTF8 = 1 << 11
# One read for the end of the archive, the longest comment, and usually the whole directory.
_TAIL = 1 << 17
_READ_AHEAD = 1 << 15


class Member(NamedTuple):
    """A file in the archive.

    Attributes:
        name: Its name.
        method: `STORED`, `DEFLATED` or another compression method.
        offset: Position of its local header in the archive.
        limit: Position of the next member, or of the directory.
        packed: Bytes in the archive.
        size: Bytes when unpacked.
    """

    name: str
    method: int
    offset: int
    limit: int
    packed: int
    size: int


class Archive:
    """A zip archive that is open for reading.

    Every method raises `CheckpointError` for an archive that contradicts itself.

    Args:
        path: The file, for messages.
        file: That file, seekable.
        size: Its size in bytes.

    Attributes:
        members: Members by name, in the order of their bytes; no two overlap.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self._path, self._file, self._size = path, file, size
        self._window, self._window_start = b"", 0
        self.members: Mapping[str, Member] = self._read_directory()

    def start(self, member: Member) -> int:
        """Position of a member's bytes; reads its local header."""
        head = self._at(member.offset, _LOCAL.size)
        mark, _, flags, method, *_, name_length, extra_length = _LOCAL.unpack(head)
        start = member.offset + _LOCAL.size + int(name_length) + int(extra_length)
        if mark != b"PK\3\4" or method != member.method or flags & _ENCRYPTED:
            raise self._damaged(f"member {member.name!r} is not where the directory places it")
        if start + member.packed > member.limit:
            raise self._damaged(f"member {member.name!r} overlaps what follows it")
        return start

    def read(self, member: Member, count: int) -> bytes:
        """The first bytes of a member, still packed, at most ``count``."""
        return self._at(self.start(member), min(count, member.packed))

    def _read_directory(self) -> dict[str, Member]:
        # The tail first: over a network it is one request, and usually the only one.
        self._at(max(self._size - _TAIL, 0), min(_TAIL, self._size))
        count, length, start = self._find_directory()
        if length > MAX_DIRECTORY or count > min(MAX_MEMBERS, length // _ENTRY.size):
            raise self._damaged(f"a zip directory of {count} members in {length} bytes")
        directory = self._at(start, length)
        entries: dict[str, Member] = {}
        position = 0
        for _ in range(count):
            member, position = self._entry(directory, position)
            if member.name in entries:
                raise self._damaged(f"two members are called {member.name!r}")
            entries[member.name] = member
        ordered = sorted(entries.values(), key=lambda member: member.offset)
        limits = [*(member.offset for member in ordered[1:]), start]
        members = {}
        for member, limit in zip(ordered, limits, strict=True):
            if member.offset + _LOCAL.size + member.packed > limit:
                raise self._damaged(f"member {member.name!r} overlaps what follows it")
            members[member.name] = member._replace(limit=limit)
        return members

    def _find_directory(self) -> tuple[int, int, int]:
        """Number of members, bytes and offset of the directory."""
        position = self._window.rfind(b"PK\5\6", 0, len(self._window) - _END.size + 4)
        if position < 0:
            raise self._damaged("truncated or not a zip archive: it has no directory at its end")
        mark, disk, first, here, count, length, start, _ = _END.unpack_from(self._window, position)
        end = self._window_start + position
        if position >= _LOCATOR.size and self._window.startswith(
            b"PK\6\7", position - _LOCATOR.size
        ):
            locator = _LOCATOR.unpack_from(self._window, position - _LOCATOR.size)
            disk, end = locator[1], locator[2]
            mark, *_, first, here64, count, length, start = _END64.unpack(
                self._at(end, _END64.size)
            )
            here = here64
            if mark != b"PK\6\6":
                raise self._damaged("the zip64 directory is not where its locator says")
        if disk or first or here != count:
            raise self._damaged("a zip archive in several volumes")
        if start + length > end:
            raise self._damaged("the zip directory lies beyond its own end")
        return count, length, start

    def _entry(self, directory: bytes, position: int) -> tuple[Member, int]:
        if position + _ENTRY.size > len(directory):
            raise self._damaged("truncated inside the zip directory")
        fields = _ENTRY.unpack_from(directory, position)
        mark, _, _, flags, method, _, _, _, packed, size = fields[:10]
        name_length, extra_length, comment_length, _, _, _, offset = fields[10:]
        name_start = position + _ENTRY.size
        extra_start = name_start + name_length
        stop = extra_start + extra_length + comment_length
        if mark != b"PK\1\2" or stop > len(directory):
            raise self._damaged("truncated inside the zip directory")
        try:
            name = directory[name_start:extra_start].decode("utf-8" if flags & _UTF8 else "cp437")
        except UnicodeDecodeError as error:
            raise self._damaged("a member's name is not UTF-8") from error
        if flags & _ENCRYPTED:
            raise self._damaged(f"member {name!r} is encrypted", "Decrypt the archive first")
        extra = directory[extra_start : extra_start + extra_length]
        size, packed, offset = self._zip64(name, extra, [size, packed, offset])
        if (method == STORED and size != packed) or (
            method == DEFLATED and size > packed * _MAX_RATIO
        ):
            raise self._damaged(f"member {name!r}: {packed} bytes cannot unpack to {size}")
        return Member(name, method, offset, 0, packed, size), stop

    def _zip64(self, name: str, extra: bytes, values: list[int]) -> list[int]:
        """Replace those of size, packed and offset that 32 bits do not hold."""
        wide = [index for index, value in enumerate(values) if value == 0xFFFFFFFF]
        position = 0
        while wide and position + _EXTRA.size <= len(extra):
            kind, length = _EXTRA.unpack_from(extra, position)
            position += _EXTRA.size
            if kind == 1 and 8 * len(wide) <= length <= len(extra) - position:
                for index in wide:
                    values[index] = int.from_bytes(extra[position : position + 8], "little")
                    position += 8
                return values
            position += length
        if wide:
            raise self._damaged(f"member {name!r} has no valid zip64 sizes")
        return values

    def _at(self, offset: int, count: int) -> bytes:
        """Bytes of the file; reads ahead, since small members are close together."""
        first = offset - self._window_start
        if first < 0 or first + count > len(self._window):
            if offset + count > self._size:
                raise self._damaged(f"truncated: it ends at byte {self._size}")
            self._file.seek(offset)
            self._window = self._file.read(max(count, _READ_AHEAD))
            self._window_start, first = offset, 0
        content = self._window[first : first + count]
        if len(content) < count:
            raise self._damaged(f"truncated: it ends at byte {offset + len(content)}")
        return content

    def _damaged(self, fact: str, remedy: str | None = None) -> Exception:
        return damaged(self._path, fact) if remedy is None else damaged(self._path, fact, remedy)
