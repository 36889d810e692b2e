"""Adapters change nothing at first, are where they are meant, and load in mlx-lm."""

import json

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from mlx.utils import tree_flatten

from mlx_probe.core.errors import CheckpointError, ConfigError, SourceError
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.tune.adapters import add_adapters, write_adapter
from mlx_probe.lab.tune.config import AdapterConfig
from mlx_probe.lab.tune.weights import to_float32, trainable

TOKENS = mx.array([[5, 9, 20, 7, 31]])


def adapted(folder, dropout=0.0, **settings):
    loaded = load_model(folder)
    before = loaded.model(TOKENS)
    adapters = add_adapters(loaded.model, AdapterConfig(**settings), dropout, seed=0)
    to_float32(loaded.model)
    return loaded, adapters, before


def shaken(model):
    """Random numbers in all that is learned."""
    weights = {
        name: each + mx.array(np.random.default_rng(3).standard_normal(each.shape) / 9, mx.float32)
        for name, each in trainable(model).items()
    }
    model.load_weights(list(weights.items()), strict=False)
    return model


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_nothing_changes_at_first(talker, method):
    loaded, _, before = adapted(talker, method=method)
    assert mx.allclose(loaded.model(TOKENS), before, atol=1e-5)


def test_full_learns_embeddings_and_norms_too(talker):
    loaded, _, _ = adapted(talker, method="full")
    assert trainable(loaded.model).keys() == dict(tree_flatten(loaded.model.parameters())).keys()
    loaded, _, _ = adapted(talker, method="full", layers=1)
    assert {name.split(".")[2] for name in trainable(loaded.model)} == {"1"}


@pytest.mark.parametrize(
    ("settings", "ranks"),
    [
        ({"targets": ("*.q_proj",)}, {"0.self_attn.q_proj": 4, "1.self_attn.q_proj": 4}),
        ({"targets": ("*.layers.1.self_attn.[qk]*",)},
         {"1.self_attn.q_proj": 4, "1.self_attn.k_proj": 4}),
        ({"layers": 1, "targets": ("*.v_proj",)}, {"1.self_attn.v_proj": 4}),
        ({"targets": ("*_proj",), "ranks": ("*=0", "*.0.*.o_proj=2")}, {"0.self_attn.o_proj": 2}),
    ],
)  # fmt: skip
def test_targets_and_ranks(talker, settings, ranks):
    _, adapters, _ = adapted(talker, rank=4, **settings)
    assert adapters.ranks == {f"model.layers.{name}": rank for name, rank in ranks.items()}


def test_the_embedding_where_it_is_named(talker):
    loaded, adapters, before = adapted(talker, targets=("*embed_tokens",))
    assert list(adapters.ranks) == ["model.embed_tokens"]
    assert mx.allclose(loaded.model(TOKENS), before, atol=1e-5)


def test_all_linear_modules_of_the_blocks_by_default(talker):
    _, adapters, _ = adapted(talker)
    assert len(adapters.ranks) == 14
    assert all(".layers." in name for name in adapters.ranks)


def test_no_module_is_meant(talker):
    with pytest.raises(ConfigError, match="name no module") as caught:
        adapted(talker, targets=("*.w1",))
    assert "model.layers.1.self_attn" in caught.value.remedy


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_files_are_mlx_lms(talker, tmp_path, method):
    mlx_lm("tuner.utils")
    from mlx_lm.tuner.utils import load_adapters

    ranks = () if method == "full" else ("*.down_proj=5", "*.1.self_attn.*=1")
    loaded, adapters, _ = adapted(talker, method=method, rank=2, scale=3.0, ranks=ranks)
    wanted = shaken(loaded.model)(TOKENS)
    write_adapter(tmp_path / "adapter", adapters, trainable(loaded.model), str(talker), 0.0)
    other = load_model(talker)
    load_adapters(other.model, str(tmp_path / "adapter"))
    assert mx.allclose(other.model(TOKENS), wanted, atol=1e-5)
    # And `generate` and `evaluate` open it by themselves.
    assert mx.allclose(load_model(tmp_path / "adapter").model(TOKENS), wanted, atol=1e-4)


def test_an_adapter_without_its_base(talker, tmp_path):
    loaded, adapters, _ = adapted(talker)
    write_adapter(tmp_path / "a", adapters, trainable(loaded.model), str(tmp_path / "gone"), 0.0)
    with pytest.raises(SourceError, match="gone"):
        load_model(tmp_path / "a")
    path = tmp_path / "a" / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "model": None}))
    with pytest.raises(SourceError, match="does not name the base"):
        load_model(tmp_path / "a")
    config["lora_parameters"]["rank"] = 3
    path.write_text(json.dumps({**config, "model": str(talker)}))
    with pytest.raises(CheckpointError, match="does not fit"):
        load_model(tmp_path / "a")


@pytest.fixture(scope="module")
def quantized(talker, tmp_path_factory):
    """The model in 4 bits, as mlx-lm converts it."""
    mlx_lm("utils")
    import shutil

    from mlx_lm.utils import load_model as load
    from mlx_lm.utils import quantize_model, save_config, save_model

    folder = tmp_path_factory.mktemp("quantized") / "model"
    shutil.copytree(talker, folder)
    model, config = load(folder)
    model, config = quantize_model(model, config, 32, 4)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    save_model(folder, model)
    save_config(config, folder / "config.json")
    return folder


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_quantized_bases(quantized, method):
    loaded, adapters, before = adapted(quantized, method=method)
    assert mx.allclose(loaded.model(TOKENS), before, atol=1e-4)
    assert len(adapters.ranks) == 14
    assert all(
        name.rpartition(".")[2] in ("lora_a", "lora_b", "m") for name in trainable(loaded.model)
    )
    assert not mx.allclose(shaken(loaded.model)(TOKENS), before, atol=1e-4)


def test_codes_cannot_be_learned(quantized):
    with pytest.raises(ConfigError, match="is quantized"):
        adapted(quantized, method="full")
