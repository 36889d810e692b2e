"""Safetensors files written one tensor after the other: their size is known before."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from mlx_probe.lab import tensor_stream
from mlx_probe.lab.tensor_stream import StoredTensor, shard_groups, shards_bytes, write_shards


def tensors(count, rng):
    found = []
    for number in range(count):
        shape = tuple(int(extent) for extent in rng.integers(0, 30, size=number % 4))
        values = rng.standard_normal(shape).astype(np.float32)
        raw = values.tobytes()
        tensor = StoredTensor(
            f"层.{number}.weight", "F32", shape, len(raw), lambda raw=raw: [memoryview(raw)]
        )
        found.append((tensor, values))
    return found


@pytest.mark.parametrize("most", [1_000, 5_000, 10**9])
@pytest.mark.parametrize("form", ["pt", "mlx"])
def test_the_size_is_known_to_the_byte(tmp_path, monkeypatch, most, form):
    monkeypatch.setattr(tensor_stream, "SHARD_BYTES", most)
    made = tensors(17, np.random.default_rng(0))
    files = write_shards(tmp_path, [tensor for tensor, _ in made], form)
    assert (len(files) == 1) == (most == 10**9)
    written = sum(path.stat().st_size for path in files)
    assert shards_bytes([tensor for tensor, _ in made], form) == written
    assert len(shard_groups([tensor for tensor, _ in made])) == len(files)
    read = {name: array for path in files for name, array in load_file(path).items()}
    assert read.keys() == {tensor.name for tensor, _ in made}
    for tensor, values in made:
        assert np.array_equal(read[tensor.name], values)
    for path in files:
        size = int.from_bytes(path.read_bytes()[:8], "little")
        header = json.loads(path.read_bytes()[8 : 8 + size])
        assert header["__metadata__"] == {"format": form}


def test_no_shard_is_larger_than_the_limit_but_for_one_tensor(monkeypatch):
    monkeypatch.setattr(tensor_stream, "SHARD_BYTES", 4_000)
    made = [tensor for tensor, _ in tensors(40, np.random.default_rng(1))]
    for group in shard_groups(made):
        assert len(group) == 1 or sum(tensor.nbytes for tensor in group) <= 4_000
