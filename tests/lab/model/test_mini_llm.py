"""The whole model: names, cached generation, dropout, checkpointing."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache

from mlx_probe.lab.device import use_device
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.initialize import initialize
from mlx_probe.lab.model.mini_llm import MiniLLM

TINY = {"dim": 32, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 48, "vocabulary": 96}


@pytest.fixture(autouse=True)
def cpu():
    use_device("cpu")


def made(dropout=0.0, seed=0, **changes):
    model = MiniLLM(ModelConfig(**{**TINY, **changes}), dropout)
    initialize(model, seed)
    return model


def tokens(*shape, seed=0):
    return mx.array(np.random.default_rng(seed).integers(0, 96, shape), dtype=mx.int32)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_cached_positions_give_the_same_logits(qk_norm):
    model = made(qk_norm=qk_norm)
    ids = tokens(2, 9)
    whole = np.array(model(ids))
    cache = make_prompt_cache(model)
    parts = [model(ids[:, :4], cache), model(ids[:, 4:8], cache), model(ids[:, 8:], cache)]
    np.testing.assert_allclose(np.array(mx.concatenate(parts, axis=1)), whole, atol=1e-6)


def test_no_position_sees_a_later_one():
    model = made()
    ids = tokens(1, 8)
    changed = mx.concatenate([ids[:, :5], (ids[:, 5:] + 1) % 96], axis=1)
    before, after = np.array(model(ids)), np.array(model(changed))
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert np.abs(before[:, 5:] - after[:, 5:]).max() > 1e-3


def loss_and_gradients(model, ids):
    def loss(ids):
        return nn.losses.cross_entropy(model(ids[:, :-1]), ids[:, 1:], reduction="mean")

    value, gradients = nn.value_and_grad(model, loss)(ids)
    return value.item(), {name: np.array(each) for name, each in tree_flatten(gradients)}


@pytest.mark.parametrize("compiled", [False, True])
def test_checkpointing_changes_no_bit(compiled):
    ids = tokens(2, 9)
    results = []
    for checkpointing in (False, True):
        model = made(dropout=0.3)
        model.checkpointing = checkpointing
        state = [model.state, mx.random.state]

        def step(ids, model=model):
            def loss(ids):
                return nn.losses.cross_entropy(model(ids[:, :-1]), ids[:, 1:], reduction="mean")

            return nn.value_and_grad(model, loss)(ids)

        run = mx.compile(step, inputs=state, outputs=state) if compiled else step
        mx.random.seed(5)
        value, gradients = run(ids)
        results.append([value.item(), *(np.array(g) for _, g in tree_flatten(gradients))])
    for plain, again in zip(*results, strict=True):
        np.testing.assert_array_equal(plain, again)


def test_dropout_acts_while_training_only():
    model = made(dropout=0.5)
    ids = tokens(1, 8)
    mx.random.seed(1)
    trained = [np.array(model(ids)) for _ in range(2)]
    assert np.abs(trained[0] - trained[1]).max() > 1e-3
    model.eval()
    same = np.array(made()(ids))
    np.testing.assert_array_equal(np.array(model(ids)), same)


def test_initial_weights_depend_on_seed_and_name_alone():
    first, again, other = made(seed=1), made(seed=1), made(seed=2)
    flat = [dict(tree_flatten(each.parameters())) for each in (first, again, other)]
    for name, weight in flat[0].items():
        np.testing.assert_array_equal(np.array(weight), np.array(flat[1][name]))
        assert weight.dtype == mx.float32
        if weight.ndim == 2:
            assert not np.array_equal(np.array(weight), np.array(flat[2][name]))
    wide = made(dim=256, hidden=512, layers=2)
    assert np.std(np.array(wide.layers[0].mlp.up_proj.weight)) == pytest.approx(0.02, rel=0.02)
    assert np.std(np.array(wide.layers[1].mlp.down_proj.weight)) == pytest.approx(0.01, rel=0.02)
    assert np.all(np.array(wide.model.norm.weight) == 1)
