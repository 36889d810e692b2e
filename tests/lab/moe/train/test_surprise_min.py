"""SurpriseMin's losses against their formula in numpy, and Surprise against other ways to it."""

from types import SimpleNamespace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from lab import mlx_lm
from tiny_mixtures import rows

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.model.cross_entropy import cross_entropy
from mlx_probe.lab.moe.gate.dynamic import DynamicGate
from mlx_probe.lab.moe.gate.install import mixtures
from mlx_probe.lab.moe.gate.mixture import GatedMixture
from mlx_probe.lab.moe.gate.routing import Record
from mlx_probe.lab.moe.graft import GraftConfig, graft_model
from mlx_probe.lab.moe.routing.blocks import find_blocks
from mlx_probe.lab.moe.signals.gradients import window_gradients
from mlx_probe.lab.moe.train.config import LossConfig, SurpriseConfig
from mlx_probe.lab.moe.train.objective import Reading, Teacher, mixture_loss
from mlx_probe.lab.moe.train.opening import open_mixture
from mlx_probe.lab.moe.train.surprise_min import surprise_losses, surprise_of

TOKENS = rows(1, 16) % 90
EXPERTS, ACTIVE = 6, 3


@pytest.fixture(autouse=True, scope="module")
def on_cpu():
    with mx.stream(mx.cpu):
        yield


@pytest.fixture(scope="module")
def taken(dense, on_cpu, tmp_path_factory):
    """A mixture with our gates, what they say of a batch, and the same mixture as mlx-lm has it."""
    out = tmp_path_factory.mktemp("surprise") / "copies"
    settings = GraftConfig(form="drop", experts=EXPERTS, active=ACTIVE, run=False)
    graft_model(str(dense.qwen3), out, settings)
    mixture = open_mixture(str(out))
    batch = Teacher(None, 1.0)(TOKENS)
    with mixture.record.kept() as routing:
        logits = mixture.network(batch["inputs"])
    mx.eval(logits, routing)
    stock = load_model(out, by_mlx_lm=True).model
    return SimpleNamespace(
        mixture=mixture, batch=batch, routing=routing, logits=logits, stock=stock
    )


@pytest.mark.parametrize("at", ["output", "input"])
def test_surprise_is_what_moe_signals_measures(taken, at):
    """By probes at every expert of mlx-lm's class; here the loss is a sum, there a mean."""
    found = surprise_of(taken.mixture.network, taken.batch, taken.routing, at)
    measured = window_gradients(taken.stock, find_blocks(taken.stock, "m"), TOKENS[0], "m")
    for surprise, routing, each in zip(found, taken.routing, measured.experts, strict=True):
        dense = np.zeros((16, EXPERTS))
        np.put_along_axis(dense, each.indices, 16 * getattr(each, at), 1)
        assert (np.array(routing.active[0]) == (dense > 0)).all()
        np.testing.assert_allclose(np.array(surprise[0]), dense, rtol=2e-3, atol=1e-4)


def test_parts_of_a_block_count_by_their_factor(taken):
    """y = K / F sum w o: its output surprise is K / F times as large for the same gradient."""
    network = taken.mixture.network
    blocks = mixtures(network)
    before = surprise_of(network, taken.batch, taken.routing, "output")[-1]
    common = np.array(before).sum(-1)
    try:
        blocks[-1].factor = 6.0
        with taken.mixture.record.kept() as routing:
            network(taken.batch["inputs"])
        after = surprise_of(network, taken.batch, routing, "output")[-1]
    finally:
        blocks[-1].factor = 0.0
    assert not np.allclose(np.array(after).sum(-1), common, rtol=1e-3)
    # The weights of a token's experts add up to K / F = 1 / 2 of the norm by the block.
    norms = np.array(after).sum(-1) * 2
    shares = np.array(after) / norms[..., None]
    np.testing.assert_allclose(shares, 0.5 * np.array(routing[-1].weights), rtol=1e-4, atol=1e-6)


def losses_of(taken, config):
    (auxiliary,) = surprise_losses(config)
    return auxiliary(taken.mixture.network, Reading(taken.batch, taken.logits, taken.routing))


@pytest.mark.parametrize("at", ["output", "input"])
def test_the_formula(taken, at):
    config = SurpriseConfig(weight=0.3, cross_entropy=0.5, divergence=2.0, at=at)
    total, numbers = losses_of(taken, config)
    found = surprise_of(taken.mixture.network, taken.batch, taken.routing, at)
    layers = []
    for surprise, routing in zip(found, taken.routing, strict=True):
        of_tokens = []
        for s, w, on in zip(
            np.array(surprise[0], np.float64),
            np.array(routing.weights[0], np.float64),
            np.array(routing.active[0]),
            strict=True,
        ):
            s, w = s[on], w[on]
            p = np.exp(-s) / np.exp(-s).sum()
            cross, apart = -np.log(w[s.argmin()]), (p * np.log(p / w)).sum()
            of_tokens.append(0.5 * cross + 2.0 * apart)
        layers.append(np.mean(of_tokens))
    assert float(total) == pytest.approx(0.3 * np.mean(layers), rel=1e-4)
    assert float(numbers["surprise_loss"]) == float(total)


def test_only_the_gates_are_pulled_and_surprise_is_a_constant(taken):
    """The gradient equals that of the formula with the Surprise as numbers."""
    network = taken.mixture.network
    config = SurpriseConfig(weight=1.0, at="output")
    fixed = [np.array(s) for s in surprise_of(network, taken.batch, taken.routing, "output")]

    def by_hand(model):
        with taken.mixture.record.kept() as routing:
            model(taken.batch["inputs"])
        layers = []
        for s, each in zip(fixed, routing, strict=True):
            hidden = mx.where(each.active, mx.array(s), mx.inf)
            scores = mx.where(each.active, each.scores, -mx.inf)
            logs = scores - mx.logsumexp(scores, axis=-1, keepdims=True)
            least = mx.argmin(hidden, axis=-1)
            cross = cross_entropy(scores, least).mean()
            p = mx.softmax(-hidden, axis=-1)
            logs = mx.where(each.active, logs, 0.0)
            apart = mx.sum(p * (mx.log(mx.maximum(p, 1e-20)) - logs), axis=-1).mean()
            layers.append(cross + apart)
        return mx.stack(layers).mean()

    def whole(model):
        with taken.mixture.record.kept() as routing:
            logits = model(taken.batch["inputs"])
        return surprise_losses(config)[0](model, Reading(taken.batch, logits, routing))[0]

    found, wanted = (
        nn.value_and_grad(network, loss)(network)[1]["model"]["layers"][1]["mlp"]["gate"]["weight"]
        for loss in (whole, by_hand)
    )
    assert np.abs(np.array(wanted)).max() > 1e-4
    np.testing.assert_allclose(np.array(found), np.array(wanted), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("at", ["output", "input"])
def test_a_dynamic_gate_learns_from_it(dense, at):
    """Which experts fire depends on prototypes and thresholds; the least surprised one does not."""
    network = load_model(dense.llama, by_mlx_lm=True).model
    experts = mlx_lm("models.switch_layers").SwitchGLU(32, 8, EXPERTS)
    record = Record()
    prototypes = np.random.default_rng(0).standard_normal((EXPERTS, 32)).astype("f4")
    gate = DynamicGate(mx.array(prototypes), mx.full(EXPERTS, -2.0))
    network.layers[1]["mlp"] = GatedMixture(gate, experts, 0.0, record)
    loss = mixture_loss(
        record,
        LossConfig(distillation=0.0, language=1e-9),
        surprise_losses(SurpriseConfig(weight=1.0, at=at)),
    )
    batch = Teacher(None, 1.0)(TOKENS)
    _, gradients = nn.value_and_grad(network, lambda model: loss(model, batch)[0])(network)
    found = gradients["model"]["layers"][1]["mlp"]["gate"]
    for name in ("prototypes", "thresholds"):
        values = np.array(found[name])
        assert np.isfinite(values).all()
        assert np.abs(values).max() > 1e-5


def test_it_is_added_to_the_loss(taken):
    plain = LossConfig(distillation=0.0, language=1.0)
    network, record = taken.mixture.network, taken.mixture.record
    without, _ = mixture_loss(record, plain)(network, taken.batch)
    config = SurpriseConfig(weight=0.2)
    whole, numbers = mixture_loss(record, plain, surprise_losses(config))(network, taken.batch)
    assert float(whole) == pytest.approx(float(without) + float(numbers["surprise_loss"]), rel=1e-6)
    assert float(numbers["surprise_loss"]) > 0
    assert surprise_losses(SurpriseConfig()) == ()
    with pytest.raises(ConfigError, match="at"):
        SurpriseConfig(at="middle")
