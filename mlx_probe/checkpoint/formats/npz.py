"""The NPZ format of numpy and MLX: a zip archive of .npy files, one for each array.

A .npy file is a magic number, a version, the length of a header, the header (a Python literal
with dtype, order and shape) and the array. Members are stored plain or deflated; only the
beginning of a deflated member is inflated here.

We parse it ourselves: numpy.load makes copies and gives no offsets.

Source: numpy/lib/format.py of numpy 2.4; mlx/io/load.cpp of MLX 0.32 for its bfloat16.
"""

from __future__ import annotations

import ast
import re
import warnings
import zlib
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mlx_probe.checkpoint.formats.header import Header, check_shape, in_file_order
from mlx_probe.checkpoint.formats.zip_directory import DEFLATED, STORED, Archive, Member
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import damaged
from mlx_probe.core.records import TensorInfo

__all__ = ["read_header"]

_MAGIC = b"\x93NUMPY"
# numpy's own limit for headers of untrusted files.
_MAX_HEADER = 10_000
# Bytes of each member that are read first: enough for all but structured types.
_FIRST = 512
_DTYPES = {
    "<f8": "F64",
    "<f4": "F32",
    "<f2": "F16",
    # MLX's bfloat16, and numpy's if it is that of ml_dtypes.
    "<V2": "BF16",
    "|V2": "BF16",
    "<i8": "I64",
    "<i4": "I32",
    "<i2": "I16",
    "|i1": "I8",
    "<u8": "U64",
    "<u4": "U32",
    "<u2": "U16",
    "|u1": "U8",
    "|b1": "BOOL",
}


class _Array(NamedTuple):
    descr: Any
    fortran_order: bool
    shape: tuple[int, ...]
    data_start: int


def read_header(path: Path, file: BinaryIO, size: int) -> Header:
    """Read the directory of an NPZ file and the header of each of its arrays.

    Args:
        path: The file's name.
        file: That file, open at its start.
        size: Its size in bytes.

    Returns:
        Its arrays. For a deflated one, `TensorInfo.start` to ``stop`` are the deflated bytes of
        the whole .npy file. `TensorInfo.problem` is set for arrays of objects (pickles, never
        read) and of structured, complex and big-endian types.

    Raises:
        CheckpointError: The file is truncated or breaks the format's rules.
        OSError: The file cannot be read.
    """
    archive = Archive(path, file, size)
    tensors = [
        _tensor(path, archive, member)
        for member in archive.members.values()
        if member.packed or not member.name.endswith("/")
    ]
    names = [tensor.name for tensor in tensors]
    if len(set(names)) < len(names):
        raise damaged(path, "two arrays have the same name")
    return Header("npz", in_file_order(path, tensors, size), {}, size)


def _tensor(path: Path, archive: Archive, member: Member) -> TensorInfo:
    name = member.name.removesuffix(".npy")
    start = archive.start(member)
    stop = start + member.packed
    if member.method not in (STORED, DEFLATED):
        unknown = f"compression method {member.method} is not supported"
        return TensorInfo(name, "unknown", (), path, start, stop, unknown)
    content = _beginning(path, archive, member, _FIRST)
    if not content.startswith(_MAGIC):
        return TensorInfo(name, "unknown", (), path, start, stop, "not an array: no .npy file")
    array = _read_array(path, archive, member, content)
    check_shape(path, name, array.shape)
    dtype, problem = _dtype(array.descr)
    nbytes = prod(array.shape) * DTYPES[dtype].itemsize if problem is None else 0
    if problem is None and member.size != array.data_start + nbytes:
        raise damaged(
            path,
            f"tensor {name!r}: {member.size - array.data_start} bytes stored, "
            f"{dtype} {list(array.shape)} takes {nbytes}",
        )
    strides = None
    if array.fortran_order and sum(extent > 1 for extent in array.shape) > 1 and nbytes:
        strides = tuple(prod(array.shape[:axis]) for axis in range(len(array.shape)))
    if member.method == DEFLATED:
        return TensorInfo(
            name, dtype, array.shape, path, start, stop, problem, strides, member.size
        )
    start += array.data_start
    return TensorInfo(name, dtype, array.shape, path, start, stop, problem, strides)


def _beginning(path: Path, archive: Archive, member: Member, count: int) -> bytes:
    """At most ``count`` bytes of a member's content."""
    # Incompressible bytes grow by 5 in 65,535.
    packed = archive.read(member, count + 16)
    if member.method == STORED:
        return packed[:count]
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, count)
    except zlib.error as error:
        raise damaged(path, f"member {member.name!r} cannot be inflated: {error}") from error


def _read_array(path: Path, archive: Archive, member: Member, content: bytes) -> _Array:
    version = content[6:8]
    width = {b"\1\0": 2, b"\2\0": 4, b"\3\0": 4}.get(version)
    fail = f"tensor {member.name.removesuffix('.npy')!r}"
    if width is None:
        raise damaged(path, f"{fail}: .npy version {version!r} is not supported")
    length = int.from_bytes(content[8 : 8 + width], "little")
    stop = 8 + width + length
    if length > _MAX_HEADER:
        raise damaged(path, f"{fail}: a header of {length} bytes, the limit is {_MAX_HEADER}")
    if stop > len(content):
        content = _beginning(path, archive, member, stop)
    if stop > len(content):
        raise damaged(path, f"{fail}: truncated inside its header")
    text = content[8 + width : stop].decode("utf-8" if version == b"\3\0" else "latin-1", "replace")
    match _literal(text):
        case {"descr": descr, "fortran_order": bool(order), "shape": tuple(shape)} if all(
            type(extent) is int and extent >= 0 for extent in shape
        ):
            return _Array(descr, order, shape, stop)
    raise damaged(path, f"{fail}: no valid descr, fortran_order and shape in its header")


def _literal(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            # Python's parser warns about odd literals as if they were in our code.
            warnings.simplefilter("ignore")
            # Python 2 wrote (3L, 4L).
            return ast.literal_eval(re.sub(r"(\d)L\b", r"\1", text).strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _dtype(descr: Any) -> tuple[str, str | None]:
    if not isinstance(descr, str):
        return "structured", "a structured dtype is not supported"
    if descr in _DTYPES:
        return _DTYPES[descr], None
    if descr.startswith(">"):
        return descr[:80], f"big-endian dtype {descr[:80]} is not supported"
    if descr.startswith("|O"):
        return descr[:80], "an array of objects is a pickle, which is not read"
    return descr[:80], f"dtype {descr[:80]} is not supported"
