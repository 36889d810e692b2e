"""The written checkpoint in transformers and mlx-lm: the same names and the same logits."""

import json

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.tokenizer import train_tokenizer
from mlx_probe.lab.device import use_device
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.count import parameter_shapes
from mlx_probe.lab.model.initialize import initialize
from mlx_probe.lab.model.layout import load_model, write_model
from mlx_probe.lab.model.mini_llm import MiniLLM

pytestmark = pytest.mark.slow

SHAPES = {
    "llama": {},
    "llama untied": {"tied_embeddings": False, "kv_heads": 1, "rope_theta": 5e5},
    "qwen3": {"qk_norm": True, "norm_epsilon": 1e-6},
    "qwen3 untied": {"qk_norm": True, "tied_embeddings": False, "kv_heads": 4},
}


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES)
def written(request, tmp_path_factory):
    """A folder with weights that are far from their first values, and its configuration."""
    use_device("cpu")
    base = {"dim": 64, "layers": 3, "heads": 4, "kv_heads": 2, "hidden": 96, "vocabulary": 160}
    config = ModelConfig(**{**base, **request.param})
    model = MiniLLM(config)
    initialize(model, 3)
    rng = np.random.default_rng(0)
    weights = {
        name: each * 5
        if each.ndim == 2
        else mx.array(rng.uniform(0.5, 1.5, each.shape), mx.float32)
        for name, each in tree_flatten(model.parameters())
    }
    folder = tmp_path_factory.mktemp("model") / "model"
    write_model(folder, config, weights)
    return folder, config


@pytest.fixture(scope="module")
def ids():
    return np.random.default_rng(1).integers(0, 160, (2, 40))


def ours(folder, ids):
    logits = np.array(load_model(folder)(mx.array(ids, dtype=mx.int32)))
    # The comparison means something: scores differ widely.
    assert logits.std() > 0.5
    return logits


def test_transformers_computes_the_same_logits(written, ids):
    import torch
    from transformers import AutoModelForCausalLM

    folder, _ = written
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        theirs = model(torch.from_numpy(ids)).logits.numpy()
    np.testing.assert_allclose(ours(folder, ids), theirs, atol=1e-4)
    assert model.config.bos_token_id is None
    assert model.config.eos_token_id is None


def test_the_names_are_those_of_transformers(written):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder, config = written
    stored = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(stored)
    theirs = {name: tuple(each.shape) for name, each in model.named_parameters()}
    assert theirs == parameter_shapes(config)
    kind = json.loads((folder / "config.json").read_text())["architectures"]
    assert kind == [type(model).__name__]


def test_mlx_lm_computes_the_same_logits(written, ids):
    from mlx_lm.utils import load_model as load_by_mlx_lm

    folder, _ = written
    model, _ = load_by_mlx_lm(folder)
    theirs = np.array(model(mx.array(ids, dtype=mx.int32)))
    np.testing.assert_allclose(ours(folder, ids), theirs, atol=1e-4)


def test_mlx_lm_and_transformers_stop_at_the_end_of_a_message(tmp_path):
    from mlx_lm import load
    from transformers import GenerationConfig

    tokenizer = train_tokenizer(
        TokenizerConfig(kind="bytes"), 300, ["to be or not to be, that is the question"], tmp_path
    )
    config = ModelConfig(dim=8, layers=1, heads=1, kv_heads=1, hidden=8, vocabulary=300)
    model = MiniLLM(config)
    initialize(model, 0)
    folder = tmp_path / "model"
    write_model(folder, config, dict(tree_flatten(model.parameters())), tmp_path)
    assert len(tokenizer.stop_ids) == 2
    _, theirs = load(str(folder))
    assert theirs.eos_token_ids == set(tokenizer.stop_ids)
    assert GenerationConfig.from_pretrained(folder).eos_token_id == list(tokenizer.stop_ids)
