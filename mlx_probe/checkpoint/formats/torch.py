"""The files of torch.save (.bin, .pt, .pth): a pickle, and the storages that it refers to.

There are two layouts. Since version 1.6 the file is a zip archive, not compressed:
``NAME/data.pkl``, and each storage as ``NAME/data/KEY``. Older files have five pickles (a magic
number, a version, the writer's system, the object, the storages' keys), then the storages in the
order of the keys, each after its number of elements in 8 bytes.

We parse it ourselves: torch.load makes a tensor of everything. Positions can be read without
torch's code, and the pickle's code is never run.

Source: torch/serialization.py of PyTorch 2.13.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from mlx_probe.checkpoint.formats.header import MAX_HEADER, Header, in_file_order
from mlx_probe.checkpoint.formats.pickle_stream import Object, PickleStream, read_pickle
from mlx_probe.checkpoint.formats.torch_names import ALLOWED
from mlx_probe.checkpoint.formats.torch_objects import Storage, Stored, describe, find_tensors
from mlx_probe.checkpoint.formats.torch_settings import SETTINGS, packed_settings
from mlx_probe.checkpoint.formats.zip_directory import STORED, Archive, Member
from mlx_probe.core.errors import damaged
from mlx_probe.core.records import TensorInfo

__all__ = ["read_header"]

# Tensors by name, the first bytes of their storages by key, and settings beside packed tensors.
_Contents = tuple[dict[str, Stored], dict[str, int], dict[str, dict[str, Any]]]

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
# Mark of a tar archive: the layout before 0.1.10.
_TAR, _TAR_AT = b"ustar", 257
_SAVE_AGAIN = "Load it with torch.load and save its tensors as safetensors"
_BIG_ENDIAN = "Save it again on a little-endian machine"


def read_header(path: Path, file: BinaryIO, size: int) -> Header:
    """Read the pickle of a file of torch.save, and where its storages are.

    Args:
        path: The file's name.
        file: That file, open at its start.
        size: Its size in bytes.

    Returns:
        Its tensors, with the names that `find_tensors` gives. Tied weights have the same bytes.
        `TensorInfo.problem` is set for tensors that cannot be read.

    Raises:
        CheckpointError: The file is truncated or breaks the format's rules, or its pickle
            names something that weights do not need. No code of the pickle is run.
        OSError: The file cannot be read.
    """
    start = file.read(_TAR_AT + len(_TAR))
    file.seek(0)
    if start.startswith(b"PK\3\4"):
        tensors, storages, settings = _read_zip(path, file, size)
    elif start.startswith(b"\x80"):
        tensors, storages, settings = _read_legacy(path, file, size)
    elif start.endswith(_TAR):
        raise damaged(path, "in the tar layout of PyTorch before 0.1.10", _SAVE_AGAIN)
    else:
        raise damaged(path, "not a file of torch.save: neither a zip archive nor a pickle")
    infos = [_locate(path, name, stored, storages) for name, stored in tensors.items()]
    metadata = {SETTINGS: settings} if settings else {}
    return Header("pytorch", in_file_order(path, infos, size, shared=True), metadata, size)


def _locate(path: Path, name: str, stored: Stored, storages: Mapping[str, int]) -> TensorInfo:
    base = storages[stored.storage.key] if stored.storage else 0
    start, stop = base + stored.start, base + stored.stop
    return TensorInfo(
        name, stored.dtype, stored.shape, path, start, stop, stored.problem, stored.strides
    )


def _read_zip(path: Path, file: BinaryIO, size: int) -> _Contents:
    archive = Archive(path, file, size)
    names = [name for name in archive.members if name.endswith("/data.pkl")]
    roots = [name.removesuffix("data.pkl") for name in names if name.count("/") == 1]
    if len(roots) != 1:
        raise damaged(path, "a zip archive that torch.save did not write: no single data.pkl")
    root = roots[0]
    if f"{root}constants.pkl" in archive.members:
        raise damaged(path, "a TorchScript program, not weights", "Save its state_dict instead")
    pickled = _stored(path, archive, f"{root}data.pkl")
    if pickled.size > MAX_HEADER:
        raise damaged(path, f"the pickle has {pickled.size} bytes, the limit is {MAX_HEADER}")
    if f"{root}byteorder" in archive.members:
        order = archive.read(_stored(path, archive, f"{root}byteorder"), 16)
        if order != b"little":
            raise damaged(path, f"its byte order is {order!r}", _BIG_ENDIAN)
    file.seek(archive.start(pickled))
    value = read_pickle(PickleStream(path, file, pickled.size), ALLOWED)
    tensors, storages = _tensors(path, value)
    starts = {}
    for storage in storages.values():
        if not storage.numel:
            starts[storage.key] = 0
            continue
        member = _stored(path, archive, f"{root}data/{storage.key}")
        if storage.nbytes > member.size:
            raise damaged(
                path,
                f"storage {storage.key[:80]!r} has {member.size} bytes, "
                f"the pickle says {storage.nbytes}",
            )
        starts[storage.key] = archive.start(member)
    return tensors, starts, packed_settings(path, value, tensors)


def _stored(path: Path, archive: Archive, name: str) -> Member:
    member = archive.members.get(name)
    if member is None:
        raise damaged(path, f"member {name[:80]!r} is missing")
    if member.method != STORED:
        raise damaged(path, f"member {name!r} is compressed", _SAVE_AGAIN)
    return member


def _read_legacy(path: Path, file: BinaryIO, size: int) -> _Contents:
    stream = PickleStream(path, file, size)
    if read_pickle(stream, ()) != _MAGIC:
        raise damaged(path, "a pickle that torch.save did not write")
    if read_pickle(stream, ()) != _VERSION:
        raise damaged(path, f"not of version {_VERSION} of torch.save", _SAVE_AGAIN)
    system = read_pickle(stream, ())
    if not isinstance(system, Object) or ("little_endian", True) not in system.pairs:
        raise damaged(path, "written on a big-endian machine", _BIG_ENDIAN)
    value = read_pickle(stream, ALLOWED)
    tensors, storages = _tensors(path, value)
    keys = read_pickle(stream, ())
    starts, position = {}, stream.position
    for key in keys if isinstance(keys, list) else []:
        if not isinstance(key, str) or key not in storages or key in starts:
            raise damaged(path, "its list of storages is not that of the pickle")
        file.seek(position)
        count = int.from_bytes(file.read(8), "little")
        if count != storages[key].numel:
            raise damaged(
                path,
                f"storage {key[:80]!r} has {count} elements, the pickle says {storages[key].numel}",
            )
        starts[key] = position + 8
        position = starts[key] + storages[key].nbytes
    missing = storages.keys() - starts.keys()
    if missing:
        raise damaged(path, f"storage {min(missing)[:80]!r} is missing")
    return tensors, starts, packed_settings(path, value, tensors)


def _tensors(path: Path, root: Any) -> tuple[dict[str, Stored], dict[str, Storage]]:
    """Tensors by name, and their storages by key."""
    tensors: dict[str, Stored] = {}
    storages: dict[str, Storage] = {}
    for name, tensor in find_tensors(path, root):
        stored = tensors[name] = describe(path, name, tensor)
        if stored.storage:
            storage = storages.setdefault(stored.storage.key, stored.storage)
            if storage != stored.storage:
                raise damaged(path, f"storage {storage.key[:80]!r} is described in two ways")
    return tensors, storages
