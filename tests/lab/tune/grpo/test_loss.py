"""The objective, against its closed form, the definition of the divergence, and differences."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.train.config import TrainConfig
from mlx_probe.lab.train.optimizer import make_optimizer
from mlx_probe.lab.train.step import TrainStep
from mlx_probe.lab.tune.adapters import add_adapters
from mlx_probe.lab.tune.batches import make_batch
from mlx_probe.lab.tune.config import AdapterConfig, GrpoConfig
from mlx_probe.lab.tune.example import Example
from mlx_probe.lab.tune.grpo.loss import divergence, grpo_loss, objective
from mlx_probe.lab.tune.loss import AnswerNats
from mlx_probe.lab.tune.weights import to_float32, trainable

GENERATOR = np.random.default_rng(3)
POSITIONS, VOCABULARY = 12, 9
CONFIG = GrpoConfig(clip_low=0.2, clip_high=0.3, kl=0.1, updates=2)


class Fixed(nn.Module):
    """A model whose scores are what is learned, whatever it reads."""

    def __init__(self, logits):
        super().__init__()
        self.logits = mx.array(logits, mx.float32)

    def __call__(self, tokens):
        return self.logits[None]


def fixed_batch(temperature):
    logits = GENERATOR.standard_normal((POSITIONS, VOCABULARY))
    targets = GENERATOR.integers(0, VOCABULARY, POSITIONS)
    logp = log_softmax(np.float32(logits) / temperature)
    new = logp[np.arange(POSITIONS), targets]
    # Ratios on both sides of both bounds, for advantages of both signs.
    batch = {
        "targets": targets.astype(np.int32),
        "positions": np.arange(POSITIONS, dtype=np.int32),
        "weights": GENERATOR.uniform(0.1, 1, POSITIONS).astype(np.float32),
        "advantages": np.float32([1, -1, 2, -2] * 3),
        "old": np.float32(new - np.repeat([0.0, 0.5, -0.5], 4)),
        "reference": np.float32(new + GENERATOR.normal(0, 0.5, POSITIONS)),
    }
    return logits, batch


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def closed_form(logits, batch, config, temperature):
    """Loss and its gradient by the scores, in float64 and by hand."""
    logp = log_softmax(np.float64(np.float32(logits)) / temperature)
    rows = np.arange(POSITIONS)
    new = logp[rows, batch["targets"]]
    ratio = np.exp(new - batch["old"])
    advantage = np.float64(batch["advantages"])
    clipped = np.clip(ratio, 1 - config.clip_low, 1 + config.clip_high)
    difference = batch["reference"] - new
    k3 = np.exp(difference) - difference - 1
    gained = np.minimum(ratio * advantage, clipped * advantage) - config.kl * k3
    counts = np.where(advantage > 0, ratio < 1 + config.clip_high, ratio > 1 - config.clip_low)
    by_new = ratio * advantage * counts - config.kl * (1 - np.exp(difference))
    one_hot = np.eye(VOCABULARY)[batch["targets"]]
    by_logits = (one_hot - np.exp(logp)) / temperature
    weights = np.float64(batch["weights"])
    return -(weights * gained).sum(), -(weights * by_new)[:, None] * by_logits


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_step_on_fixed_scores_equals_its_closed_form(temperature):
    logits, batch = fixed_batch(temperature)
    model, answers = Fixed(logits), 4
    loss = grpo_loss(AnswerNats(model, temperature), CONFIG)
    train = TrainConfig(
        optimizer="adamw", learning_rate=0.1, weight_decay=0.0, clip=0.0, warmup=0,
        schedule="constant", beta1=0.0, beta2=0.0, epsilon=1e-12, steps=1,
    )  # fmt: skip
    arrays = {name: mx.array(each) for name, each in batch.items()}
    arrays["tokens"] = mx.zeros((1, POSITIONS), mx.int32)
    value, gradient = closed_form(logits, batch, CONFIG, temperature)
    found = mx.grad(lambda weights: _loss(loss, model, weights, arrays))(
        model.trainable_parameters()
    )
    np.testing.assert_allclose(np.array(found["logits"]), gradient, atol=1e-6)
    step = TrainStep(
        model, make_optimizer(train, model), train, mx.float32, False, loss=loss,
        divisor=lambda batches: answers,
    )  # fmt: skip
    result = step(1, [arrays])
    assert result.loss == pytest.approx(value / answers, abs=1e-6)
    assert result.grad_norm == pytest.approx(np.linalg.norm(gradient) / answers, abs=1e-6)
    # AdamW without means moves each number by the rate, against the sign of its gradient.
    moved = np.array(model.logits) - np.float32(logits)
    large = np.abs(gradient) > 1e-5
    np.testing.assert_allclose(moved[large], -0.1 * np.sign(gradient)[large], atol=1e-6)


def _loss(loss, model, weights, batch):
    model.update(weights)
    return loss(model, batch)


def test_what_is_beyond_the_bounds_teaches_nothing():
    new = mx.array([0.5, -0.5, 0.5, -0.5])
    advantages = mx.array([1.0, -1.0, -1.0, 1.0])
    old, config = mx.zeros(4), GrpoConfig()
    gradient = mx.grad(lambda new: objective(new, old, None, advantages, config).sum())(new)
    ratio = np.exp([0.5, -0.5])
    np.testing.assert_allclose(np.array(gradient), [0, 0, -ratio[0], ratio[1]], rtol=1e-6)


def test_without_an_older_model_the_gradient_is_that_of_the_policy():
    """The ratio is 1, and its gradient that of the logarithm."""
    logits, batch = fixed_batch(1.0)
    del batch["old"], batch["reference"]
    model = Fixed(logits)
    arrays = {name: mx.array(each) for name, each in batch.items()}
    arrays["tokens"] = mx.zeros((1, POSITIONS), mx.int32)
    loss = grpo_loss(AnswerNats(model), GrpoConfig(kl=0.0))
    weights = model.trainable_parameters()
    value, found = mx.value_and_grad(lambda weights: _loss(loss, model, weights, arrays))(weights)
    worth = batch["weights"] * batch["advantages"]
    assert value.item() == pytest.approx(-worth.sum(), abs=1e-6)
    shares = np.exp(log_softmax(np.float32(logits)))
    by_hand = -worth[:, None] * (np.eye(VOCABULARY)[batch["targets"]] - shares)
    np.testing.assert_allclose(np.array(found["logits"]), by_hand, atol=1e-6)


def test_the_mean_divergence_is_that_of_the_distributions():
    new, reference = (log_softmax(GENERATOR.standard_normal((5, 50))) for _ in range(2))
    each = np.array(divergence(mx.array(np.float32(new)), mx.array(np.float32(reference))))
    assert (each >= -1e-7).all()
    wanted = (np.exp(new) * (new - reference)).sum(-1)
    np.testing.assert_allclose((np.exp(new) * each).sum(-1), wanted, atol=1e-6)
    same = mx.array(np.float32(new))
    assert not np.array(divergence(same, same)).any()


def test_gradients_equal_finite_differences(talker):
    """Through a whole model, its adapters, both bounds and the divergence."""
    model = load_model(talker).model
    add_adapters(model, AdapterConfig(rank=3), 0.0, seed=0)
    to_float32(model)
    weights = {
        name: mx.array(np.random.default_rng(5).standard_normal(each.shape) / 9, mx.float32)
        for name, each in trainable(model).items()
    }
    model.load_weights(list(weights.items()), strict=False)
    examples = []
    for length, answer in ((20, 7), (14, 5), (17, 8)):
        tokens = GENERATOR.integers(5, 300, length).astype(np.int32)
        examples.append(Example("", tokens, np.arange(length) >= length - answer))
    batch = make_batch(examples, 16).to_device()
    nats = AnswerNats(model)
    now = -np.array(nats.each(model, batch))
    n = len(now)
    batch["advantages"] = mx.array(GENERATOR.normal(0, 1, n).astype(np.float32))
    # Far from the bounds: there the objective has a corner.
    batch["old"] = mx.array(now - np.resize(np.float32([0.05, -0.08, 0.6, -0.6]), n))
    batch["reference"] = mx.array(now + GENERATOR.normal(0, 0.3, n).astype(np.float32))
    loss = grpo_loss(nats, CONFIG)
    found = mx.grad(lambda weights: _loss(loss, model, weights, batch))(
        model.trainable_parameters()
    )
    mx.eval(found)
    model.load_weights(list(weights.items()), strict=False)
    gradients = dict(tree_flatten(found))
    for name in ("model.layers.0.self_attn.v_proj.lora_a", "model.layers.1.mlp.down_proj.lora_b"):
        gradient, values = np.array(gradients[name]), []
        size = float(np.linalg.norm(gradient))
        direction = mx.array(gradient) / size
        for sign in (1, -1):
            model.load_weights([(name, weights[name] + sign * 2e-3 * direction)], strict=False)
            values.append(loss(model, batch).item())
        model.load_weights([(name, weights[name])], strict=False)
        assert (values[0] - values[1]) / 4e-3 == pytest.approx(size, rel=1e-2)
