"""The folder that a model is written to, and what is refused when it is read."""

import errno
import json
import shutil

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_probe import open_checkpoint
from mlx_probe.core.errors import CheckpointError, ResultError
from mlx_probe.lab import tensor_stream, tensors_file
from mlx_probe.lab.device import use_device
from mlx_probe.lab.model import layout
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.count import parameter_shapes, parameters
from mlx_probe.lab.model.initialize import initialize
from mlx_probe.lab.model.layout import load_model, load_weights, read_config, write_model
from mlx_probe.lab.model.mini_llm import MiniLLM

SHAPES = [
    {},
    {"qk_norm": True, "tied_embeddings": False, "rope_theta": 5e5, "norm_epsilon": 1e-6},
    {"heads": 2, "kv_heads": 1, "tied_embeddings": False},
]


@pytest.fixture(autouse=True)
def cpu():
    use_device("cpu")


def tiny(**changes):
    base = {"dim": 32, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 48, "vocabulary": 96}
    return ModelConfig(**{**base, **changes})


def weights_of(config, seed=0):
    model = MiniLLM(config)
    initialize(model, seed)
    return dict(tree_flatten(model.parameters()))


@pytest.mark.parametrize("changes", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_model_comes_back(tmp_path, changes, dtype):
    config = tiny(**changes)
    weights = weights_of(config)
    write_model(tmp_path / "model", config, weights, dtype=dtype)
    assert read_config(tmp_path / "model") == config
    loaded = dict(tree_flatten(load_model(tmp_path / "model").parameters()))
    assert set(loaded) == set(weights)
    for name, weight in weights.items():
        assert loaded[name].dtype == mx.float32
        kept = weight.astype(layout.DTYPES[dtype]).astype(mx.float32)
        np.testing.assert_array_equal(np.array(loaded[name]), np.array(kept))


@pytest.mark.parametrize("changes", SHAPES)
def test_the_shapes_are_those_of_the_model(changes):
    config = tiny(**changes)
    weights = weights_of(config)
    assert {name: each.shape for name, each in weights.items()} == parameter_shapes(config)
    assert sum(each.size for each in weights.values()) == parameters(config)


def test_the_same_weights_are_the_same_bytes(tmp_path):
    config = tiny()
    for name in ("a", "b"):
        write_model(tmp_path / name, config, weights_of(config))
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("a", "b")]
    assert files[0] == files[1] == ["config.json", "generation_config.json", "model.safetensors"]
    for name in files[0]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_shards_with_an_index(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_stream, "SHARD_BYTES", 20_000)
    config = tiny()
    weights = weights_of(config)
    write_model(tmp_path / "model", config, weights)
    files = sorted((tmp_path / "model").glob("*.safetensors"))
    assert len(files) > 2
    assert files[0].name == f"model-00001-of-{len(files):05}.safetensors"
    assert all(path.stat().st_size < 22_000 for path in files)
    index = json.loads((tmp_path / "model" / layout.INDEX).read_text())
    assert set(index["weight_map"]) == set(weights)
    assert index["metadata"]["total_size"] == 4 * parameters(config)
    loaded = load_weights(tmp_path / "model", config)
    assert all(np.array_equal(np.array(loaded[name]), np.array(weights[name])) for name in weights)
    files[1].unlink()
    with pytest.raises(CheckpointError, match="model-00002"):
        load_weights(tmp_path / "model", config)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_the_engine_opens_it(tmp_path, qk_norm):
    config = tiny(qk_norm=qk_norm)
    write_model(tmp_path / "model", config, weights_of(config))
    with open_checkpoint(tmp_path / "model") as checkpoint:
        found = {each.parameter.name: each for each in checkpoint.weights()}
        assert checkpoint.architecture.model_type == ("qwen3" if qk_norm else "llama")
    assert set(found) == set(parameter_shapes(config))
    kinds = {name.split(".")[-2]: each.role.block_type for name, each in found.items()}
    assert kinds["embed_tokens"] == "embedding"
    assert kinds["norm"] == kinds["input_layernorm"] == "norm"
    for name in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
        assert kinds[name] == name
    assert found["model.layers.1.mlp.up_proj.weight"].role.layer_index == 1


def test_a_full_disk_leaves_the_old_model(tmp_path, monkeypatch):
    config = tiny()
    write_model(tmp_path / "model", config, weights_of(config, seed=1))
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    written = 0

    def full(file, data):
        nonlocal written
        written += len(data)
        if written > 10_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        file.write(data)

    monkeypatch.setattr(tensor_stream, "write_all", full)
    with pytest.raises(ResultError, match=r"cannot write .*model: No space left") as failure:
        write_model(tmp_path / "model", config, weights_of(config, seed=2))
    assert "Free space" in failure.value.remedy
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_kill_between_the_renamings_loses_nothing(tmp_path):
    config = tiny()
    write_model(tmp_path / "model", config, weights_of(config, seed=1))
    (tmp_path / "model").rename(tmp_path / ".model.old")
    with pytest.raises(ResultError, match="is missing"):
        write_model(tmp_path / "model", config, {})
    write_model(tmp_path / "model", config, weights_of(config, seed=2))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"model_type": None}, "model_type is None"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"quantization": {"bits": 4}}, "quantization is"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2}}, "rope_type is 'yarn'"),
        ({"rope_parameters": 7}, "rope_parameters is 7"),
        ({"head_dim": 128}, "head_dim is 128"),
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"num_key_value_heads": 3}, "kv_heads"),
        ({"hidden_size": "wide"}, "dim"),
    ],
)
def test_another_architecture_is_refused_by_name(tmp_path, change, message):
    write_model(tmp_path / "model", tiny(), weights_of(tiny()))
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message) as failure:
        read_config(tmp_path / "model")
    assert str(path) in failure.value.fact


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_no_config(tmp_path, content):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(tmp_path)


def test_tensors_that_do_not_fit(tmp_path):
    config = tiny()
    weights = weights_of(config)
    folder = tmp_path / "model"
    for name, change, message in (
        ("missing", {"model.norm.weight": None}, r"tensor model\.norm\.weight is missing"),
        ("shape", {"model.norm.weight": mx.ones(31)}, r"has the shape \(31,\), not \(32,\)"),
        ("more", {"extra": mx.ones(3)}, "tensor extra does not belong"),
    ):
        changed = {key: each for key, each in (weights | change).items() if each is not None}
        with pytest.raises(ResultError, match=message):
            write_model(folder, config, changed)
        write_model(tmp_path / name, config, weights)
        (tmp_path / name / layout.WEIGHTS).unlink()
        tensors_file.write_tensors(tmp_path / name / layout.WEIGHTS, changed)
        with pytest.raises(CheckpointError, match=message):
            load_model(tmp_path / name)
    shutil.copytree(tmp_path / "missing", tmp_path / "torn")
    torn = tmp_path / "torn" / layout.WEIGHTS
    torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="torn"):
        load_model(tmp_path / "torn")
    torn.unlink()
    with pytest.raises(CheckpointError, match="cannot read"):
        load_model(tmp_path / "torn")
