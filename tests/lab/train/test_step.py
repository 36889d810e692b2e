import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_probe.lab.device import compiles
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.initialize import initialize
from mlx_probe.lab.model.mini_llm import MiniLLM
from mlx_probe.lab.train.config import TrainConfig
from mlx_probe.lab.train.optimizer import make_optimizer
from mlx_probe.lab.train.step import NotFinite, TrainStep

SHAPE = ModelConfig(
    dim=32, layers=2, heads=2, kv_heads=1, hidden=48, vocabulary=64, context=16,
    tied_embeddings=False,
)  # fmt: skip
CONFIG = TrainConfig(steps=20, batch=4, warmup=2)


@pytest.fixture
def tokens(rng):
    return rng.integers(0, 64, (3, 8, 17))


def trained(
    batches_of_steps, config=CONFIG, dtype=mx.float32, compiled=False, checkpointing=False, **more
):
    """Weights and results after some steps."""
    model = MiniLLM(SHAPE, config.dropout)
    model.checkpointing = checkpointing
    initialize(model, 0)
    optimizer = make_optimizer(config, model)
    step = TrainStep(model, optimizer, config, dtype, compiled, **more)
    results = [
        step(number, [mx.array(batch) for batch in batches])
        for number, batches in enumerate(batches_of_steps, start=1)
    ]
    weights = {name: np.array(weight) for name, weight in tree_flatten(model.parameters())}
    return weights, results


def largest_difference(one, other):
    return max(np.abs(one[name] - other[name]).max() for name in one)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_loss_falls(tokens, optimizer):
    config = TrainConfig(steps=20, warmup=2, optimizer=optimizer)
    _, results = trained([[tokens[0]]] * 20, config)
    assert results[0].loss == pytest.approx(np.log(64), abs=0.1)
    assert results[-1].loss < 0.8 * results[0].loss


@pytest.mark.parametrize("parts", [2, 8])
def test_accumulated_micro_batches_are_one_large_batch(tokens, parts):
    whole, whole_results = trained([[batch] for batch in tokens])
    split = [np.split(batch, parts) for batch in tokens]
    accumulated, results = trained(split)
    for one, other in zip(results, whole_results, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-6)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-5)
    # The gradient itself is the same within 1e-6; see below for what optimizers make of it.
    assert largest_difference(accumulated, whole) < 1e-3


@pytest.mark.parametrize("parts", [2, 8])
def test_accumulated_gradient_is_that_of_one_large_batch(tokens, parts, monkeypatch):
    def gradients(batches):
        kept = {}

        def keep(found, loss):
            kept.update((name, np.array(g) / len(batches)) for name, g in tree_flatten(found))
            return found, loss

        trained([batches], reduction=keep)
        return kept

    whole, split = gradients([tokens[0]]), gradients(np.split(tokens[0], parts))
    norm = np.sqrt(sum((g**2).sum() for g in whole.values()))
    assert largest_difference(whole, split) < 1e-6 * norm


@pytest.mark.slow
@pytest.mark.skipif(not compiles()[0], reason="no C++ compiler")
def test_compiled_steps_are_those_without(tokens):
    config = TrainConfig(steps=20, warmup=2, dropout=0.1)
    batches = [np.split(batch, 2) for batch in tokens]
    plain, plain_results = trained(batches, config)
    compiled, results = trained(batches, config, compiled=True)
    assert [r.loss for r in results] == pytest.approx([r.loss for r in plain_results], rel=1e-5)
    assert largest_difference(plain, compiled) < 1e-3


def test_checkpointing_changes_no_gradient_with_dropout(tokens):
    config = TrainConfig(steps=20, warmup=2, dropout=0.3)
    _, plain = trained([[batch] for batch in tokens], config)
    _, again = trained([[batch] for batch in tokens], config, checkpointing=True)
    assert [r.grad_norm for r in again] == pytest.approx([r.grad_norm for r in plain], rel=1e-4)


def test_dropout_follows_from_seed_step_and_micro_batch(tokens):
    config = TrainConfig(steps=20, warmup=2, dropout=0.3)
    mx.random.seed(1)
    one, _ = trained([[batch, batch] for batch in tokens], config)
    mx.random.seed(2)
    other, _ = trained([[batch, batch] for batch in tokens], config)
    assert largest_difference(one, other) == 0
    another, _ = trained([[batch, batch] for batch in tokens], config, rank=1)
    assert largest_difference(one, another) > 0


def test_bfloat16_keeps_float32_weights_and_no_nan(tokens):
    batches = [[batch] for batch in tokens] * 3
    _, plain_results = trained(batches)
    half, results = trained(batches, dtype=mx.bfloat16)
    assert all(weight.dtype == np.float32 for weight in half.values())
    assert all(np.isfinite(weight).all() for weight in half.values())
    assert [r.loss for r in results] == pytest.approx([r.loss for r in plain_results], rel=2e-2)
    # Not the same: the pass really was in bfloat16.
    assert [r.loss for r in results] != [r.loss for r in plain_results]


def test_clipping_bounds_the_gradient(tokens):
    def update(clip):
        # With so large an epsilon Adam's first update is 100 times the gradient.
        config = TrainConfig(
            steps=4, warmup=0, optimizer="adamw", schedule="constant", clip=clip,
            epsilon=1e3, learning_rate=1e5, weight_decay=0.0,
        )  # fmt: skip
        weights, results = trained([[tokens[0]]], config)
        return weights["lm_head.weight"] - trained([])[0]["lm_head.weight"], results[0].grad_norm

    (free, norm), (clipped, same) = update(0.0), update(1e-2)
    assert norm == same > 0.1
    np.testing.assert_allclose(clipped, free * 1e-2 / norm, rtol=1e-3, atol=1e-6)
    assert np.abs(clipped).max() > 1e-4


def test_first_number_that_is_not_finite_changes_no_weight(tokens):
    model = MiniLLM(SHAPE)
    initialize(model, 0)
    # One weight whose square overflows: the loss of this step is no number.
    broken = model.lm_head.weight
    model.lm_head.weight = broken * 1e38
    optimizer = make_optimizer(CONFIG, model)
    step = TrainStep(model, optimizer, CONFIG, mx.float32, compiled=False)
    before = {name: np.array(weight) for name, weight in tree_flatten(model.parameters())}
    state = {name: np.array(value) for name, value in tree_flatten(optimizer.state)}
    with pytest.raises(NotFinite, match=r"(loss|gradient norm) is (inf|nan)"):
        step(1, [mx.array(tokens[0])])
    after = {name: np.array(weight) for name, weight in tree_flatten(model.parameters())}
    assert largest_difference(before, after) == 0
    for name, value in tree_flatten(optimizer.state):
        np.testing.assert_array_equal(np.array(value), state[name])
