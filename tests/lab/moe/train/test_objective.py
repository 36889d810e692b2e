"""The loss of a mixture's training against its formula, and the counts of active experts."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_probe.lab.moe.gate.routing import Record, Routing
from mlx_probe.lab.moe.train.active_experts import ActiveExperts
from mlx_probe.lab.moe.train.config import LossConfig
from mlx_probe.lab.moe.train.objective import (
    Teacher,
    counts_of_active,
    described_step,
    divergence,
    mixture_loss,
)

VOCABULARY = 11


@pytest.fixture(autouse=True)
def on_cpu():
    before = mx.default_device()
    mx.set_default_device(mx.cpu)
    yield
    mx.set_default_device(before)


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


class Says:
    """A model that says given logits."""

    def __init__(self, logits, record=None, routing=()):
        self.logits, self.record, self.routing = mx.array(logits), record, routing

    def __call__(self, tokens):
        for layer in self.routing:
            self.record.add(layer)
        return self.logits


def case(seed, temperature):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, VOCABULARY, (2, 6))
    ours, theirs = (3 * rng.standard_normal((2, 5, VOCABULARY)).astype("f4") for _ in range(2))
    batch = Teacher(Says(theirs), temperature)(tokens)
    mine, other = (log_softmax(z.astype(np.float64) / temperature) for z in (ours, theirs))
    kl = (np.exp(other) * (other - mine)).sum(-1)
    nats = -np.take_along_axis(log_softmax(ours.astype(np.float64)), tokens[:, 1:, None], -1)
    return ours, batch, kl, nats[..., 0]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_loss_is_its_formula(temperature):
    ours, batch, kl, nats = case(0, temperature)
    found = divergence(mx.array(ours), batch["teacher"], batch["entropy"], temperature)
    np.testing.assert_allclose(np.array(found), kl, rtol=1e-5, atol=1e-6)
    record = Record()
    active = mx.array(np.arange(40).reshape(2, 5, 4) % 3 > 0)
    layer = Routing(active / 2, active, mx.zeros((2, 5), mx.bool_), active / 3)
    config = LossConfig(distillation=0.7, temperature=temperature, language=0.2)
    bonus = (lambda model, reading: (mx.array(5.0), {"extra": reading.logits.sum() * 0 + 2}),)
    total, more = mixture_loss(record, config, bonus)(Says(ours, record, [layer]), batch)
    wanted = 0.7 * temperature**2 * kl.mean() + 0.2 * nats.mean() + 5
    assert total.item() == pytest.approx(wanted, rel=1e-5)
    told = described_step({name: 3 * value for name, value in more.items()}, 3)
    assert told["train_loss"] == pytest.approx(nats.mean(), rel=1e-5)
    assert told["teacher_kl"] == pytest.approx(kl.mean(), rel=1e-5)
    assert (told["objective"], told["extra"]) == (pytest.approx(wanted, rel=1e-5), 2)


def test_a_model_is_no_way_from_itself():
    ours, batch, _, _ = case(1, 1.0)
    same = Teacher(Says(ours), 1.0)(np.zeros((2, 6), int))
    found = np.array(divergence(mx.array(ours), same["teacher"], same["entropy"], 1.0))
    np.testing.assert_allclose(found, 0, atol=2e-6)
    assert batch["entropy"].shape == (2, 5)
    assert set(Teacher(None, 1.0)(np.zeros((2, 6), int))) == {"inputs", "targets"}


def test_the_gradient_of_the_divergence():
    """softmax(z / T) - p, over T."""
    ours, batch, _, _ = case(2, 2.0)

    def mean(z):
        return divergence(z, batch["teacher"], batch["entropy"], 2.0).sum()

    found = np.array(mx.grad(mean)(mx.array(ours)))
    wanted = (np.exp(log_softmax(ours / 2.0)) - np.array(batch["teacher"])) / 2
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def routing(seed, layers=3, rows=2, length=9, experts=5):
    rng = np.random.default_rng(seed)
    active = rng.random((layers, rows, length, experts)) < 0.4
    fallback = rng.random((layers, rows, length)) < 0.2
    return active, fallback


def test_counts_add_up():
    active, fallback = routing(3)
    layers = [
        Routing(mx.array(a) / 2, mx.array(a), mx.array(f), mx.array(a) / 2)
        for a, f in zip(active, fallback, strict=True)
    ]
    sums = counts_of_active(layers)
    counts = np.array(sums["active"])
    assert counts.sum(1).tolist() == [18, 18, 18]
    told, k = described_step(sums, 1), active.sum(-1)
    assert told["active_mean"] == pytest.approx(k.mean())
    assert (told["active_min"], told["active_max"]) == (k.min(), k.max())
    assert told["fallback"] == pytest.approx(fallback.mean())

    tokens = np.arange(18, dtype=np.int32).reshape(2, 9)
    found = ActiveExperts(5, tokens, k.astype(np.int16), fallback)
    assert np.array_equal(found.counts, counts)
    described = found.describe()
    assert described["mean"] == pytest.approx(k.mean())
    assert (described["min"], described["max"]) == (k.min(), k.max())
    assert [each["tokens_by_active"] for each in described["by_layer"]] == counts.tolist()
    spans = [(each["first"], each["last"]) for each in described["by_position"]]
    assert spans == [(0, 0), (1, 1), (2, 3), (4, 7), (8, 8)]
    sizes = [last - first + 1 for first, last in spans]
    means = [each["mean"] for each in described["by_position"]]
    assert np.average(means, weights=sizes) == pytest.approx(k.mean())
    assert described["by_position"][2]["mean_by_layer"][1] == pytest.approx(k[1, :, 2:4].mean())
