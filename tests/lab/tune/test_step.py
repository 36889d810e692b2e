"""The loss is that of the answers, whatever is around them; gradients are those of the loss."""

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.tune.adapters import add_adapters
from mlx_probe.lab.tune.batches import make_batch
from mlx_probe.lab.tune.begin import _checkpoint
from mlx_probe.lab.tune.config import AdapterConfig
from mlx_probe.lab.tune.example import Example
from mlx_probe.lab.tune.loss import AnswerNats, learned_tokens
from mlx_probe.lab.tune.objective import answer_loss
from mlx_probe.lab.tune.weights import to_float32, trainable

GENERATOR = np.random.default_rng(0)


def example(length, answers):
    learned = np.zeros(length, bool)
    learned[length - answers :] = True
    return Example("", GENERATOR.integers(5, 300, length).astype(np.int32), learned)


EXAMPLES = [example(12, 3), example(20, 7), example(9, 1)]


def prepared(folder, dropout=0.0, checkpointed=False):
    model = load_model(folder).model
    adapters = add_adapters(model, AdapterConfig(rank=3), dropout, seed=0)
    to_float32(model)
    weights = {
        name: mx.array(np.random.default_rng(5).standard_normal(each.shape) / 9, mx.float32)
        for name, each in trainable(model).items()
    }
    model.load_weights(list(weights.items()), strict=False)
    if checkpointed:
        _checkpoint(model)
    model.train()
    return model, adapters


@pytest.fixture(params=["talker", "as_mlx_lm"])
def folder(request):
    return request.getfixturevalue(request.param)


def nats_by_hand(model, one):
    logits = np.array(model(mx.array(one.tokens[None, :-1]))[0], np.float64)
    logits -= logits.max(-1, keepdims=True)
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    nats = -logp[np.arange(len(one.tokens) - 1), one.tokens[1:]]
    return nats[one.learned[1:]].sum()


def test_nats_are_those_of_each_example_alone(folder):
    """No example sees another, and no padding is seen."""
    model, _ = prepared(folder)
    batch = make_batch(EXAMPLES, 16).to_device()
    wanted = sum(nats_by_hand(model, one) for one in EXAMPLES)
    found = AnswerNats(model).total(model, batch).item()
    assert found == pytest.approx(wanted, rel=1e-5)
    assert learned_tokens([batch, batch]) == 22
    # Outside of the loss the model is what it was.
    assert model(batch["tokens"]).shape == (*batch["tokens"].shape, 330)


def gradients_of(model, adapters, batch, seed):
    loss = answer_loss(AnswerNats(model), adapters)
    mx.random.seed(seed)

    def of(weights):
        model.update(weights)
        return loss(model, batch)

    weights = model.trainable_parameters()
    value, gradients = mx.value_and_grad(of)(weights)
    mx.eval(value, gradients)
    model.update(weights)
    return value.item(), {name: np.array(each) for name, each in tree_flatten(gradients)}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_checkpointed_blocks_have_the_same_gradients(folder, dropout):
    batch = make_batch(EXAMPLES, 16).to_device()
    plain = gradients_of(*prepared(folder, dropout), batch, seed=1)
    again = gradients_of(*prepared(folder, dropout, checkpointed=True), batch, seed=1)
    assert plain[0] == pytest.approx(again[0], rel=1e-6)
    for name, gradient in plain[1].items():
        np.testing.assert_allclose(again[1][name], gradient, rtol=2e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_equal_finite_differences(folder, dropout):
    model, adapters = prepared(folder, dropout)
    batch = make_batch(EXAMPLES, 16).to_device()
    _, gradients = gradients_of(model, adapters, batch, seed=1)
    loss = answer_loss(AnswerNats(model), adapters)
    for name in ("model.layers.0.self_attn.v_proj.lora_a", "model.layers.1.mlp.down_proj.lora_b"):
        weight, values = trainable(model)[name], []
        direction = mx.array(gradients[name]) / np.linalg.norm(gradients[name])
        for sign in (1, -1):
            model.load_weights([(name, weight + sign * 2e-3 * direction)], strict=False)
            mx.random.seed(1)
            values.append(loss(model, batch).item())
        model.load_weights([(name, weight)], strict=False)
        measured = (values[0] - values[1]) / 4e-3
        assert measured == pytest.approx(float(np.linalg.norm(gradients[name])), rel=1e-2)


def test_dropout_drops_other_numbers_by_the_seed_alone(folder):
    model, adapters = prepared(folder, 0.3)
    batch = make_batch(EXAMPLES, 16).to_device()
    first, same, other = (gradients_of(model, adapters, batch, seed)[0] for seed in (1, 1, 2))
    assert first == same != other
    model.eval()
    still = [gradients_of(model, adapters, batch, seed)[0] for seed in (1, 2)]
    assert still[0] == still[1]
