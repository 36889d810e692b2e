"""Files as torch.save writes them, and files put together by hand."""

import io
import zipfile

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import as_strided

from mlx_probe.checkpoint.formats import read_header
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import CheckpointError

LAYOUTS = {"zip": True, "legacy": False}


def save(path, obj, layout="zip", **options):
    torch.save(obj, path, _use_new_zipfile_serialization=LAYOUTS[layout], **options)
    return path


def tensors_of(path):
    return {tensor.name: tensor for tensor in read_header(path).tensors}


def content(info):
    """A tensor's elements as bytes in C order, by nothing but its description."""
    raw = info.shard.read_bytes()[info.start : info.stop]
    if info.strides is None or not info.numel:
        return raw
    words = np.frombuffer(raw, f"u{DTYPES[info.dtype].itemsize}")
    steps = [step * words.itemsize for step in info.strides]
    return as_strided(words, info.shape, steps).tobytes()


def random(*shape, dtype="float32"):
    generator = torch.Generator().manual_seed(len(shape))
    kind = getattr(torch, dtype)
    size = torch.empty((), dtype=kind).element_size()
    data = torch.randint(0, 256, (*shape, size), generator=generator, dtype=torch.uint8)
    return (data % 2).bool()[..., 0] if dtype == "bool" else data.view(kind)[..., 0].clone()


class Unknown:
    """Pickles as a call of ``function`` with ``args``."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def archived(pickled, *storages, method=zipfile.ZIP_STORED, **members):
    members = {"data.pkl": pickled, **members}
    members |= {f"data/{key}": value for key, value in enumerate(storages)}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as file:
        for name, value in members.items():
            file.writestr(f"m/{name}", value)
    return target.getvalue()


def refusal(path, data):
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as e:
        read_header(path)
    assert str(path) in e.value.fact
    return e.value.fact


def tensor_pickle(offset=0, size=(2,), strides=(1,), numel=2, kind="torch\nFloatStorage"):
    def numbers(values):
        return b"(" + b"".join(b"J" + v.to_bytes(4, "little", signed=True) for v in values) + b"t"

    storage = b"(X\7\0\0\0storagec" + kind.encode() + b"\nX\1\0\0\0" + b"0X\3\0\0\0cpu"
    storage += numbers([numel])[1:-1] + b"tQ"
    view = numbers([offset])[1:-1] + numbers(size) + numbers(strides) + b"\x89N"
    return b"\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"tRs."
