import json
import logging
import re

import numpy as np
import pytest
from weightfiles import model_files, whole, write_gguf, write_safetensors

from mlx_probe import checkpoint as package
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import CheckpointError
from mlx_probe.core.formats import weight_suffixes

A, B = np.full((2, 2), 1, np.float32), np.full((3,), 2, np.float32)
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def sharded(tmp_path):
    """Writes an index over two shards: tensor name -> shard."""
    write_safetensors(tmp_path / FIRST, {"a": A})
    write_safetensors(tmp_path / SECOND, {"b": B})

    def write(weight_map):
        index = tmp_path / "model.safetensors.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        return model_files(tmp_path / FIRST, tmp_path / SECOND, index=index)

    return write


def test_all_names_are_there():
    assert all(hasattr(package, name) for name in package.__all__)


def test_shards_are_one_checkpoint_in_reading_order(sharded):
    files = sharded({"b": SECOND, "a": FIRST})
    checkpoint = open_checkpoint(files)
    assert checkpoint.files is files
    assert [tensor.shard.name for tensor in checkpoint.tensors] == [FIRST, SECOND]
    first, second = checkpoint.weights()
    np.testing.assert_array_equal(whole(first), A)
    np.testing.assert_array_equal(whole(second), B)
    assert checkpoint.config == {}


def test_a_missing_shard_is_named_with_the_index(sharded, tmp_path):
    files = sharded({"a": FIRST, "b": SECOND})
    (tmp_path / SECOND).unlink()
    with pytest.raises(CheckpointError, match=rf"index\.json: shard {SECOND} is missing"):
        open_checkpoint(files)
    with pytest.raises(CheckpointError, match=r"shard gone\.safetensors is missing"):
        open_checkpoint(sharded({"a": FIRST, "b": "gone.safetensors"}))
    index = {"a": FIRST, "b": "gone.safetensors", "c": "lost.safetensors"}
    with pytest.raises(CheckpointError, match=r"gone\.safetensors is missing, and 1 more of 3"):
        open_checkpoint(sharded(index))


@pytest.mark.parametrize("shard", ["../up.safetensors", "/abs.safetensors"])
def test_an_index_leads_nowhere_else(sharded, shard):
    with pytest.raises(CheckpointError):
        open_checkpoint(sharded({"a": FIRST, "b": shard}))


def test_a_tensor_that_its_shard_does_not_hold(sharded):
    with pytest.raises(CheckpointError, match=rf"shard {FIRST} does not hold tensor 'b'"):
        open_checkpoint(sharded({"a": FIRST, "b": FIRST}))


def test_a_tensor_in_two_shards(sharded, tmp_path):
    write_safetensors(tmp_path / SECOND, {"b": B, "a": A})
    with pytest.raises(CheckpointError, match=rf"{SECOND}: tensor 'a' is in .*{FIRST} too"):
        open_checkpoint(sharded({"a": FIRST, "b": SECOND}))


def test_a_tensor_outside_the_index_is_kept_with_a_warning(sharded, tmp_path, caplog):
    write_safetensors(tmp_path / SECOND, {"b": B, "c": A, "d": A})
    with caplog.at_level(logging.WARNING, "mlx_probe"):
        checkpoint = open_checkpoint(sharded({"a": FIRST, "b": SECOND}))
    assert [tensor.name for tensor in checkpoint.tensors] == ["a", "b", "c", "d"]
    (record,) = caplog.records
    assert re.search(rf"index\.json .*{SECOND} .*'c' and 1 more", record.getMessage())


def test_config_json_is_parsed(tmp_path):
    path = write_safetensors(tmp_path / "model.safetensors", {"a": A})
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "llama"}')
    assert open_checkpoint(model_files(path, config=config)).config == {"model_type": "llama"}


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_config_json_is_named(tmp_path, content):
    path = write_safetensors(tmp_path / "model.safetensors", {"a": A})
    config = tmp_path / "config.json"
    config.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json: not "):
        open_checkpoint(model_files(path, config=config))


def test_formats_do_not_mix(tmp_path):
    one = write_safetensors(tmp_path / "a.safetensors", {"a": A})
    two = write_gguf(tmp_path / "b.gguf", {"b": (B, "F32")})
    with pytest.raises(CheckpointError, match="weight files of gguf and safetensors"):
        open_checkpoint(model_files(one, two))


def test_metadata_of_equal_keys_is_the_first_files(tmp_path):
    one = write_gguf(tmp_path / "a.gguf", {"a": (A, "F32")}, split__no=0)
    two = write_gguf(tmp_path / "b.gguf", {"b": (B, "F32")}, split__no=1, extra=5)
    checkpoint = open_checkpoint(model_files(one, two))
    assert checkpoint.framework == "gguf"
    assert (checkpoint.metadata["split.no"], checkpoint.metadata["extra"]) == (0, 5)


def test_an_unknown_suffix_names_the_known_ones(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.onnx") as error:
        open_checkpoint(model_files(path))
    assert error.value.remedy == f"Choose a file that ends in {' or '.join(weight_suffixes())}"


def test_without_a_suffix_the_first_bytes_decide(tmp_path):
    write_gguf(tmp_path / "a.gguf", {"a": (A, "F32")})
    blob = (tmp_path / "a.gguf").rename(tmp_path / "sha256-0123")
    assert open_checkpoint(model_files(blob)).framework == "gguf"
    blob.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="sha256-0123: not a weight file"):
        open_checkpoint(model_files(blob))


def test_a_folder_in_place_of_a_file(tmp_path):
    path = tmp_path / "model.gguf"
    path.mkdir()
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.gguf: Is a directory"):
        open_checkpoint(model_files(path))
