"""Packs: many chunks in one file, named by its own hash.

Layout: a line, the chunks one after the other, a record for each chunk, the records' number and
hash. A chunk is a zstd frame, or plain where that is not larger.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.files import atomic_replace

__all__ = [
    "CHUNK",
    "PACK_SUFFIX",
    "PackWriter",
    "Place",
    "compress",
    "decompress",
    "pack_path",
    "read_places",
]

# Bytes of a chunk. Fixed: logs and tables grow at their end, and databases change page by page.
CHUNK = 4 << 20
# A pack is written once it has so many bytes, or so many chunks.
_PACK = 16 << 20
_MOST = 8192
PACK_SUFFIX = ".pack"

_HEAD = b"mlx-probe pack 1\n"
_RECORD = struct.Struct("<32sQIIB")
_TAIL = struct.Struct("<I32s8s")
_END = b"packend\n"
_PLAIN, _ZSTD = 0, 1
# Below this a frame is longer than what is in it.
_TINY = 64
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk is.

    Attributes:
        pack: The file.
        offset: Where it begins.
        stored: Bytes there.
        length: Bytes of the chunk.
        codec: How they are stored.
    """

    pack: Path
    offset: int
    stored: int
    length: int
    codec: int


def compress(data: bytes) -> tuple[int, bytes]:
    """How a chunk is stored, and its bytes so."""
    if len(data) < _TINY:
        return _PLAIN, data
    # Here: a backup of nothing new needs no compressor.
    import pyarrow as pa

    # One for each call: it is not said to be safe for several threads.
    packed = pa.Codec("zstd", compression_level=_LEVEL).compress(data, asbytes=True)
    return (_ZSTD, packed) if len(packed) < len(data) * 0.97 else (_PLAIN, data)


def decompress(codec: int, data: bytes, length: int) -> bytes:
    """The chunk.

    Raises:
        ValueError: It is damaged.
    """
    if codec == _PLAIN:
        return data
    if codec != _ZSTD or length > CHUNK:
        raise ValueError("a chunk of an unknown kind")
    import pyarrow as pa

    try:
        content: bytes = pa.Codec("zstd").decompress(data, length, asbytes=True)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"a chunk that cannot be unpacked: {error}") from error
    return content


class PackWriter:
    """A pack in memory until it is large enough.

    Attributes:
        count: Number of chunks.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = [_HEAD]
        self._records: list[bytes] = []
        self._size = len(_HEAD)

    @property
    def count(self) -> int:
        """Number of chunks."""
        return len(self._records)

    @property
    def is_full(self) -> bool:
        """Whether it is to be written now."""
        return self._size >= _PACK or self.count >= _MOST

    def add(self, digest: bytes, codec: int, data: bytes, length: int) -> None:
        """Append a chunk as it is stored."""
        self._records.append(_RECORD.pack(digest, self._size, len(data), length, codec))
        self._parts.append(data)
        self._size += len(data)

    def write(self, folder: Path) -> Path:
        """Write the pack; it is on the disk when it gets its name.

        Raises:
            OSError: The disk refused; nothing is there.
        """
        records = b"".join(self._records)
        digest = hashlib.sha256(records).digest()
        content = b"".join([*self._parts, records, _TAIL.pack(self.count, digest, _END)])
        path = pack_path(folder, hashlib.sha256(content).hexdigest())
        path.parent.mkdir(exist_ok=True)
        with atomic_replace(path) as temporary:
            temporary.write_bytes(content)
        return path


def pack_path(folder: Path, digest: str) -> Path:
    """Where the pack of a hash is."""
    return folder / digest[:2] / f"{digest}{PACK_SUFFIX}"


def read_places(path: Path) -> Iterator[tuple[bytes, Place]]:
    """The chunks of a pack, from its records.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size < len(_HEAD) + _TAIL.size:
            raise ValueError("it is truncated")
        count, digest, end = _TAIL.unpack(os.pread(file.fileno(), _TAIL.size, size - _TAIL.size))
        begin = size - _TAIL.size - count * _RECORD.size
        if end != _END or begin < len(_HEAD):
            raise ValueError("it is truncated, or no pack")
        records = os.pread(file.fileno(), count * _RECORD.size, begin)
    if hashlib.sha256(records).digest() != digest:
        raise ValueError("the list of its chunks is damaged")
    for name, offset, stored, length, codec in _RECORD.iter_unpack(records):
        yield name, Place(path, offset, stored, length, codec)
