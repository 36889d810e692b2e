"""Copies of a model on two machines: equal ones, and the first difference of others."""

import pickle
import shutil

import numpy as np
import pytest
from models import write_shards, write_single

from mlx_probe.analysis.cluster.copies import BLOCK, SAMPLES, _positions, copy_digest, difference
from mlx_probe.analysis.opening import open_checkpoint

SHARD = "model-00002-of-00003.safetensors"


def digest(folder, full=False):
    with open_checkpoint(folder) as checkpoint:
        return copy_digest(checkpoint, full)


@pytest.fixture
def pair(tmp_path):
    """A model of three shards, and a copy of it."""
    arrays = {f"layers.{n}.w": np.full((64, 64), n, np.float32) for n in range(6)}
    own = write_shards(tmp_path / "own", arrays, 3)
    (own / "config.json").write_text('{"model_type": "llama", "dtype": "float32"}')
    return own, shutil.copytree(own, tmp_path / "other" / "deeper")


def test_equal_copies_elsewhere(pair):
    own, other = pair
    config = other / "config.json"
    config.write_text('{"dtype":"float32",\n"model_type":"llama"}')
    assert difference(digest(own, full=True), digest(other, full=True)) is None
    assert difference(digest(own), digest(other, full=True)) is None
    assert pickle.loads(pickle.dumps(digest(own))) == digest(own)


def test_one_file_and_its_folder_are_one_model(tmp_path):
    folder = write_single(tmp_path / "model", {"w": np.ones((4, 4), np.float32)})
    (file,) = folder.glob("*.safetensors")
    assert digest(folder) == digest(file)


def test_a_name_that_no_copy_has(pair):
    own, other = map(digest, pair)
    fewer = type(own)(other.files[:1], other.config, other.metadata)
    assert difference(own, fewer) == f"{SHARD} is missing"
    assert difference(fewer, own) == f"{SHARD} is a file of it, and not of the copy here"


def test_another_size(pair):
    own, other = pair
    with (other / SHARD).open("ab") as file:
        file.write(b"more")
    said = difference(digest(own), digest(other))
    size = (own / SHARD).stat().st_size
    assert said == f"{SHARD} has another size ({size + 4} bytes, here {size})"


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"layers.2.w", b"layers.7.w"), (b'"F32"', b'"I32"'), (b"[64, 64]", b"[4096]  ")],
)
def test_another_header_of_the_same_size(pair, before, after):
    own, other = pair
    for file in (SHARD, "model.safetensors.index.json"):
        content = (other / file).read_bytes()
        assert before in content or file != SHARD
        (other / file).write_bytes(content.replace(before, after))
    said = difference(digest(own), digest(other))
    assert said == f"{SHARD} has another header: other names, types, shapes or offsets"


def test_two_fine_tunes_have_other_bytes(pair):
    own, other = pair
    content = bytearray((other / SHARD).read_bytes())
    content[-64 * 64 * 4 :] = np.full((64, 64), 9, np.float32).tobytes()
    (other / SHARD).write_bytes(content)
    assert difference(digest(own), digest(other)) == f"{SHARD} holds other bytes"


def test_only_whole_files_tell_a_single_byte(tmp_path):
    pair = [tmp_path / name for name in ("a", "b")]
    for folder in pair:
        write_single(folder, {"w": np.zeros((1 << 20,), np.float32)})
    (file,) = pair[1].glob("*.safetensors")
    sampled = [range(at, at + BLOCK) for at in _positions(file.stat().st_size)]
    between = next(at for at in range(10_000, 1 << 20) if not any(at in part for part in sampled))
    content = bytearray(file.read_bytes())
    content[between] = 1
    file.write_bytes(content)
    assert difference(*map(digest, pair)) is None
    said = difference(*(digest(folder, full=True) for folder in pair))
    assert said.startswith(f"{file.name} has another SHA-256 (")


def test_another_configuration(pair):
    own, other = pair
    (other / "config.json").write_text('{"model_type": "llama", "dtype": "float16"}')
    assert difference(digest(own), digest(other)) == "its configuration has another content"


@pytest.mark.parametrize("size", [0, 1, BLOCK, SAMPLES * BLOCK, SAMPLES * BLOCK + 1, 10**12])
def test_samples_lie_in_the_file(size):
    positions = list(_positions(size))
    assert positions == list(_positions(size))
    assert len(positions) == min(SAMPLES, -(-size // BLOCK))
    assert not positions or positions[0] >= 0
    # The last block of a small file is shorter.
    stops = [*positions[1:], max(size, len(positions) * BLOCK)]
    assert all(stop - start >= BLOCK - 1 for start, stop in zip(positions, stops, strict=False))
