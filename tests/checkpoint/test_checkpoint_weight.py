import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightfiles import entry, model_files, safetensors_bytes, whole, write_safetensors

from mlx_probe.checkpoint import chunk_extent, open_checkpoint
from mlx_probe.checkpoint.mapping import MappedRange
from mlx_probe.core.dtypes import DTYPES, decode
from mlx_probe.core.errors import CheckpointError
from mlx_probe.core.records import Role


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def role(monkeypatch):
    """Makes every tensor have the role given."""

    def give(*role):
        monkeypatch.setattr("mlx_probe.checkpoint.weight.classify", lambda name: Role(*role))

    return give


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("shape", "rows", "cols", "slabs"),
    [
        ((2500, 3), 2500, 3, [(1024, 3), (1024, 3), (452, 3)]),
        ((1030, 1030), 1030, 1030, [(1024, 1030), (6, 1030)]),
        ((3, 2500), 3, 2500, [(3, 1024), (3, 1024), (3, 452)]),
        ((2049,), None, None, [(1024,), (1024,), (1,)]),
        ((1, 2049), 1, 2049, [(1, 1024), (1, 1024), (1, 1)]),
        ((2049, 1), 2049, 1, [(1024, 1), (1024, 1), (1, 1)]),
        ((1,), None, None, [(1,)]),
        ((1100, 2, 3, 4), 1100, 24, [(1024, 24), (76, 24)]),
        ((2, 3, 4, 5, 50), 2, 3000, [(2, 1024), (2, 1024), (2, 952)]),
    ],
)
@pytest.mark.parametrize("dtype", ["<f4", "<u2", "u1"])
def test_slabs_follow_the_long_side(path, shape, rows, cols, slabs, dtype, rng):
    array = rng.integers(0, 256, shape).astype(dtype)
    name = {"<f4": "F32", "<u2": "BF16", "u1": "F8_E4M3"}[dtype]
    write_safetensors(path, {"w.weight": array}, name)
    (weight,) = open_checkpoint(model_files(path)).weights()
    chunks = list(weight.chunks())
    assert [chunk.shape for chunk in chunks] == slabs
    assert (weight.rows, weight.cols, weight.expert_index) == (rows, cols, None)
    np.testing.assert_array_equal(whole(weight).reshape(shape), array)
    if rows is None or rows >= cols:
        assert all(chunk.flags.c_contiguous for chunk in chunks)


@pytest.mark.parametrize("shape", [(1030, 30), (30, 1030), (2049,), (7, 2, 3, 4)])
@pytest.mark.parametrize("dtype", ["F32", "BF16", "F8_E4M3"])
def test_a_block_is_a_piece_of_the_whole(path, shape, dtype, rng):
    storage = DTYPES[dtype].storage
    array = rng.integers(0, 120, shape).astype(storage)
    write_safetensors(path, {"w.weight": array}, dtype)
    (weight,) = open_checkpoint(model_files(path)).weights()
    values = decode(array, dtype).reshape(weight.shape if weight.rows is None else (shape[0], -1))
    for first, last in ((0, 1), (3, 7), (0, shape[0]), (shape[0] - 1, shape[0])):
        block = weight.block(first, last)
        assert block.dtype == np.float32
        assert block.flags.owndata or block.base.flags.owndata
        np.testing.assert_array_equal(block, values[first:last])


@pytest.mark.usefixtures("small_chunks")
def test_a_stack_is_one_weight_for_each_index(path, role, rng):
    role("up_proj", "moe", 2, 9)
    array = rng.standard_normal((3, 4, 1500), np.float32)
    write_safetensors(path, {"w": array})
    weights = open_checkpoint(model_files(path)).weights()
    assert [weight.expert_index for weight in weights] == [0, 1, 2]
    for expert, weight in zip(array, weights, strict=True):
        assert (weight.shape, weight.rows, weight.cols) == ((4, 1500), 4, 1500)
        assert (weight.numel, weight.nbytes) == (6000, 24000)
        np.testing.assert_array_equal(whole(weight), expert)
    ranges = [weight.byte_ranges() for weight in weights]
    (stored,) = weights[0].parameter.pieces
    assert [start for ((_, start, _),) in ranges[1:]] == [stop for ((_, _, stop),) in ranges[:-1]]
    assert ranges[0][0][:2] == (path, stored.start)
    assert ranges[-1][0][2] == stored.stop


def test_a_convolution_of_three_dimensions_is_one_matrix(path, role, rng):
    role("conv", "other", 1, None)
    array = rng.standard_normal((6, 4, 3), np.float32)
    write_safetensors(path, {"w": array})
    (weight,) = open_checkpoint(model_files(path)).weights()
    assert (weight.shape, weight.rows, weight.cols) == ((6, 4, 3), 6, 12)
    np.testing.assert_array_equal(whole(weight), array.reshape(6, 12))


def test_the_expert_of_a_matrix_is_in_its_name(path, role):
    role("up_proj", "moe", 2, 9)
    write_safetensors(path, {"w": np.zeros((2, 2), np.float32)})
    (weight,) = open_checkpoint(model_files(path)).weights()
    assert weight.expert_index == 9
    assert weight.role == Role("up_proj", "moe", 2, 9)


@pytest.mark.parametrize(
    ("shape", "rows", "cols"),
    [((), None, None), ((0,), None, None), ((0, 5), 0, 5), ((5, 0), 5, 0), ((0, 4, 4), None, None),
     ((8, 0, 4), None, None), ((0, 2, 3, 4), 0, 24)],
)  # fmt: skip
def test_scalars_and_empty_tensors_are_one_weight_without_chunks(path, shape, rows, cols):
    write_safetensors(path, {"w": np.zeros(shape, np.float32)})
    (weight,) = open_checkpoint(model_files(path)).weights()
    assert (weight.shape, weight.rows, weight.cols) == (shape, rows, cols)
    assert weight.numel == (1 if shape == () else 0)
    assert list(weight.chunks()) == []


def test_a_stack_of_a_billion_is_one_row_with_a_reason(path):
    size = 10**9
    with path.open("wb") as file:
        file.write(safetensors_bytes({"x_ids": entry("U8", [size, 1, 1], 0, size)}))
        file.truncate(file.tell() + size)
    (weight,) = open_checkpoint(model_files(path)).weights()
    assert weight.problem == "a stack of 1000000000 matrices; the limit is 65536"
    assert list(weight.chunks()) == []


@given(st.integers(1, 2**63))
def test_a_chunk_is_four_million_elements_or_1024_lines(short):
    extent = chunk_extent(short)
    assert extent % 1024 == 0
    assert extent == 1024 or extent * short <= 2**22 < (extent + 1024) * short


def test_threads_may_stream_at_once(path, rng):
    arrays = {f"w{i}": rng.standard_normal((700, 300 + i), np.float32) for i in range(8)}
    write_safetensors(path, arrays)
    weights = open_checkpoint(model_files(path)).weights() * 4
    start = threading.Barrier(4)

    def stream(part):
        start.wait()
        return [np.array_equal(whole(weight), arrays[weight.name]) for weight in part]

    with ThreadPoolExecutor(4) as pool:
        # Everybody gets every weight, so the same bytes are mapped and released at once.
        assert all(all(same) for same in pool.map(stream, [weights] * 4))


def sparse(path, size):
    with path.open("wb") as file:
        file.write(safetensors_bytes({"x_ids": entry("U8", [size >> 12, 1 << 12], 0, size)}))
        file.truncate(file.tell() + size)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="other systems count otherwise")
@pytest.mark.parametrize("released", [True, False])
def test_the_resident_set_stays_small(path, monkeypatch, released):
    sparse(path, 200 << 20)
    if not released:
        monkeypatch.setattr(MappedRange, "release", lambda self, part: None)
    (weight,) = open_checkpoint(model_files(path)).weights()
    process = psutil.Process()
    before = process.memory_info().rss
    peak = 0
    for chunk in weight.chunks():
        chunk.max()
        peak = max(peak, process.memory_info().rss - before)
    assert (peak < 50 << 20) is released


def test_released_chunks_stay_readable(path, rng):
    array = rng.integers(0, 256, (1 << 14, 1 << 10), np.uint8)
    write_safetensors(path, {"w_ids": array}, "U8")
    (weight,) = open_checkpoint(model_files(path)).weights()
    chunks = list(weight.chunks())
    assert len(chunks) == 4
    np.testing.assert_array_equal(np.concatenate(chunks), array)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_changed_its_size_is_not_mapped(path, change):
    write_safetensors(path, {"w": np.ones((4, 4), np.float32)})
    (weight,) = open_checkpoint(model_files(path)).weights()
    content = path.read_bytes()
    path.write_bytes(content[:-1] if change < 0 else content + b"!")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: changed its size"):
        next(weight.chunks())


def test_a_file_that_is_gone_is_named(path):
    write_safetensors(path, {"w": np.ones((4, 4), np.float32)})
    (weight,) = open_checkpoint(model_files(path)).weights()
    path.unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.safetensors: No such file"):
        next(weight.chunks())


def test_close_ends_reading_and_keeps_what_is_out(path):
    write_safetensors(path, {"w": np.ones((4, 4), np.float32)})
    with open_checkpoint(model_files(path)) as checkpoint:
        (weight,) = checkpoint.weights()
        (chunk,) = weight.chunks()
    assert chunk.sum() == 16
    with pytest.raises(CheckpointError, match="read after close"):
        next(weight.chunks())


@pytest.mark.parametrize(
    ("shape", "dtype", "extents", "spectrum"),
    [
        ((6, 4), "F32", (6, 4), True),
        ((4, 6), "F32", (4, 6), True),
        ((5, 2, 3), "F32", (2, 3), True),
        ((4, 6), "I32", (4, 6), False),
        # What is not a matrix is one row of all its elements; no extent is 0.
        ((6,), "F32", (1, 6), False),
        ((), "F32", (1, 1), False),
        ((0, 4), "F32", (1, 4), False),
        ((4, 0), "F32", (4, 1), False),
        ((0,), "F32", (1, 1), False),
    ],
)
def test_extents(tmp_path, shape, dtype, extents, spectrum):
    array = np.zeros(shape, {"F32": np.float32, "I32": np.int32}[dtype])
    path = write_safetensors(tmp_path / "m.safetensors", {"w": array}, dtype)
    weight = open_checkpoint(model_files(path)).weights()[0]
    assert weight.extents == extents
    assert (weight.short, weight.long) == (min(extents), max(extents))
    assert weight.tall == (extents[0] >= extents[1])
    assert weight.has_spectrum == spectrum
