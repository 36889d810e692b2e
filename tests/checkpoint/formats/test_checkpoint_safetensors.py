import time

import mlx.core as mx
import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file
from weightfiles import check_refused, entry, model_files, safetensors_bytes, whole

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.checkpoint.formats import read_header
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import CheckpointError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_as_its_words(path, dtype, rng):
    stored = DTYPES[dtype]
    words = rng.integers(0, 2 if dtype == "BOOL" else 256, 6 * stored.itemsize, np.uint8)
    # 3 bytes in front: views need not be aligned.
    header = {"pad": entry("U8", [3], 0, 3), "x.weight": entry(dtype, [2, 3], 3, 3 + words.nbytes)}
    path.write_bytes(safetensors_bytes(header, b"abc" + words.tobytes()))
    official = dict(safetensors.deserialize(path.read_bytes()))["x.weight"]
    weight = open_checkpoint(model_files(path)).weights()[1]
    (chunk,) = weight.chunks()
    assert (weight.dtype, weight.chunk_dtype, weight.shape) == (dtype, dtype, (2, 3))
    assert (weight.numel, weight.nbytes) == (6, words.nbytes)
    assert chunk.dtype == stored.storage
    assert chunk.tobytes() == bytes(official["data"])
    assert not chunk.flags.writeable


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u1", "?"])
def test_files_of_the_official_library(path, dtype, rng):
    arrays = {f"w{i}_ids": rng.integers(0, 2, (i + 1, 5)).astype(dtype) for i in range(4)}
    save_file(arrays, path, metadata={"format": "np"})
    checkpoint = open_checkpoint(model_files(path))
    assert checkpoint.framework == "safetensors"
    assert checkpoint.metadata == {"format": "np"}
    assert [t.start for t in checkpoint.tensors] == sorted(t.start for t in checkpoint.tensors)
    for weight in checkpoint.weights():
        np.testing.assert_array_equal(whole(weight).view(dtype), arrays[weight.name])


def test_tensors_come_in_the_order_of_their_offsets(path):
    header = {"b": entry(begin=8, end=16), "a": entry(begin=0, end=8)}
    header |= {"e": entry(shape=[0], begin=8, end=8)}
    path.write_bytes(safetensors_bytes(header, bytes(16)))
    assert [tensor.name for tensor in read_header(path).tensors] == ["a", "e", "b"]


@pytest.mark.parametrize(("dtype", "size"), [("F4", 4), ("F8_E8M0", 8), ("C64", 64), ("Q9", 1)])
def test_an_unknown_dtype_is_one_row_with_a_reason(path, dtype, size):
    header = {"x": entry(dtype, [8], 0, size), "y": entry("U8", [4], size, size + 4)}
    path.write_bytes(safetensors_bytes(header, bytes(size) + b"good"))
    odd, good = open_checkpoint(model_files(path)).weights()
    assert odd.problem == f"dtype {dtype} is not supported"
    assert (odd.shape, odd.nbytes, list(odd.chunks())) == ((8,), size, [])
    assert whole(good).tobytes() == b"good"


DAMAGED = {
    "empty file": (b"", "truncated or not safetensors"),
    "no header": (b"\x02\0\0\0", "truncated or not safetensors"),
    "header longer than the file": (b"\xff" * 8 + b"{}", "truncated or not safetensors"),
    "header cut": (safetensors_bytes({"x": entry()})[:-1], "truncated or not safetensors"),
    "not UTF-8": (safetensors_bytes(b'{"\xff": 1}'), "not JSON"),
    "UTF-16": (safetensors_bytes('{"a": 1}'.encode("utf-16")), "not JSON"),
    "not JSON": (safetensors_bytes(b"{,}"), "not JSON"),
    "nested": (safetensors_bytes(b"[" * 1_000_000), "not JSON"),
    "long number": (safetensors_bytes(b'{"x": ' + b"1" * 5000 + b"}"), "not JSON"),
    "array": (safetensors_bytes(b"[]"), "not a JSON object"),
    "name twice": (safetensors_bytes(b'{"x": {}, "x": {}}'), "'x' twice"),
    "key twice": (safetensors_bytes(b'{"x": {"dtype": 1, "dtype": 2}}'), "'dtype' twice"),
    "metadata list": (safetensors_bytes({"__metadata__": []}), "__metadata__"),
    "metadata number": (safetensors_bytes({"__metadata__": {"a": 1}}), "__metadata__"),
    "entry list": (safetensors_bytes({"x": []}), "'x': no valid dtype"),
    "entry empty": (safetensors_bytes({"x": {}}), "'x': no valid dtype"),
    "dtype number": (safetensors_bytes({"x": entry(dtype=1)}, bytes(8)), "'x': no valid dtype"),
    "shape text": (safetensors_bytes({"x": entry(shape="2")}, bytes(8)), "'x': no valid dtype"),
    "shape bool": (
        safetensors_bytes({"x": entry(shape=[True, 2])}, bytes(8)),
        "'x': no valid dtype",
    ),
    "shape negative": (
        safetensors_bytes({"x": entry(shape=[-1, -2])}, bytes(8)),
        "'x': no valid dtype",
    ),
    "shape float": (safetensors_bytes({"x": entry(shape=[2.0])}, bytes(8)), "'x': no valid dtype"),
    "rank": (safetensors_bytes({"x": entry(shape=[1] * 33, end=4)}, bytes(4)), "'x': a shape of"),
    "overflow": (safetensors_bytes({"x": entry(shape=[2**32] * 2, end=0)}), "'x': a shape of"),
    "overflow beside zero": (
        safetensors_bytes({"x": entry(shape=[0, 2**32, 2**32], end=0)}),
        "'x': a shape of",
    ),
    "offsets reversed": (
        safetensors_bytes({"x": entry(begin=8, end=0)}, bytes(8)),
        "'x': no valid dtype",
    ),
    "offsets negative": (safetensors_bytes({"x": entry(begin=-8, end=0)}), "'x': no valid dtype"),
    "three offsets": (
        safetensors_bytes({"x": {**entry(), "data_offsets": [0, 4, 8]}}, bytes(8)),
        "'x': no valid dtype",
    ),
    "size": (safetensors_bytes({"x": entry(shape=[3])}, bytes(8)), r"'x': 8 bytes stored.* 12"),
    "out of range": (
        safetensors_bytes({"x": entry(begin=2**62, end=2**62 + 8)}, bytes(8)),
        "tensor 'x'",
    ),
    "truncated": (safetensors_bytes({"x": entry()}, bytes(5)), "truncated: 3 bytes missing.*'x'"),
    "overlap": (
        safetensors_bytes({"x": entry(), "y": entry(begin=4, end=12)}, bytes(12)),
        "'x' and 'y' overlap",
    ),
    "same range": (
        safetensors_bytes({"x": entry(), "y": entry()}, bytes(8)),
        "'x' and 'y' overlap",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_one_message_that_names_the_file(path, case):
    check_refused(path, *DAMAGED[case])


def test_a_header_beyond_the_limit_is_not_read(path):
    with path.open("wb") as file:
        file.write((200_000_000).to_bytes(8, "little"))
        file.truncate(300_000_000)
    with pytest.raises(CheckpointError, match="the limit is 100000000"):
        read_header(path)


def test_opening_reads_no_data(path):
    size = 50 << 30
    with path.open("wb") as file:
        file.write(safetensors_bytes({"x_ids": entry("U8", [size >> 10, 1 << 10], 0, size)}))
        file.truncate(file.tell() + size)
    start = time.perf_counter()
    (weight,) = open_checkpoint(model_files(path)).weights()
    assert time.perf_counter() - start < 1
    assert weight.nbytes == size
    assert next(weight.chunks()).shape == (4096, 1024)


def test_a_git_lfs_pointer_is_recognised(path):
    path.write_bytes(b"version https://git-lfs.example/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(CheckpointError, match="Git LFS pointer") as error:
        open_checkpoint(model_files(path))
    assert error.value.remedy == "Run git lfs pull there"


def test_files_that_mlx_wrote_without_metadata_are_read(tmp_path):
    path = tmp_path / "model.safetensors"
    mx.save_safetensors(str(path), {"a": mx.zeros((2, 3))})
    assert b'"__metadata__":null' in path.read_bytes()
    assert read_header(path).metadata == {}
