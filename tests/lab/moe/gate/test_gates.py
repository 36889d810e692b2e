"""Gates against numpy in float64, against the stock blocks, and against finite differences."""

from types import SimpleNamespace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import mlx_lm
from mlx.optimizers import Adam

from mlx_probe.lab.moe.gate.begin import Seen, drawn_gate, fitted_gate
from mlx_probe.lab.moe.gate.dynamic import DynamicGate
from mlx_probe.lab.moe.gate.mixture import GatedMixture
from mlx_probe.lab.moe.gate.routing import Record
from mlx_probe.lab.moe.gate.top_k import TopKGate

DIM, EXPERTS, WIDTH = 12, 6, 8


@pytest.fixture(autouse=True, scope="module")
def on_cpu():
    before = mx.default_device()
    mx.set_default_device(mx.cpu)
    yield
    mx.set_default_device(before)


def wanted(x, prototypes, thresholds):
    """The gate's formula for each token, in float64."""
    x, prototypes, thresholds = (np.asarray(a, np.float64) for a in (x, prototypes, thresholds))
    weights, active, fallback = (np.zeros((len(x), len(prototypes))) for _ in range(3))
    for t, token in enumerate(x):
        cosine = prototypes @ token / np.linalg.norm(prototypes, axis=1) / np.linalg.norm(token)
        score = cosine - 1 / (1 + np.exp(-thresholds))
        fires = [e for e, a in enumerate(np.maximum(score, 0)) if a > 0]
        fallback[t] = not fires
        used = (
            fires or sorted(range(len(score)), key=lambda e: -cosine[e])[: max(1, len(score) // 2)]
        )
        active[t, used] = 1
        weights[t, used] = np.exp(score[used]) / np.exp(score[used]).sum()
    return SimpleNamespace(weights=weights, active=active > 0, fallback=fallback[:, 0] > 0)


def drawn(seed, tokens=40, at=-1.0, experts=EXPERTS):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((tokens, DIM)).astype(np.float32)
    prototypes = rng.standard_normal((experts, DIM)).astype(np.float32)
    thresholds = (at + 0.5 * rng.standard_normal(experts)).astype(np.float32)
    return x, prototypes, thresholds


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(-4, 1), st.integers(1, 7))
def test_the_dynamic_gate_is_its_formula(seed, at, experts):
    x, prototypes, thresholds = drawn(seed, 12, at, experts)
    found = DynamicGate(mx.array(prototypes), mx.array(thresholds))(mx.array(x))
    right = wanted(x, prototypes, thresholds)
    assert np.array_equal(np.array(found.active), right.active)
    assert np.array_equal(np.array(found.fallback), right.fallback)
    np.testing.assert_allclose(np.array(found.weights), right.weights, atol=2e-6)


@pytest.mark.parametrize("at", [-6.0, -1.5, 6.0])
def test_the_fallback_is_where_nothing_is_positive(at):
    x, prototypes, thresholds = drawn(1, 400, at)
    found = DynamicGate(mx.array(prototypes), mx.array(thresholds))(mx.array(x))
    none = ~(np.array(found.scores) > 0).any(-1)
    assert np.array_equal(np.array(found.fallback), none)
    share = none.mean()
    assert {-6.0: share < 0.05, -1.5: 0 < share < 1, 6.0: share == 1}[at]
    counts = np.array(found.active).sum(-1)
    assert (counts[none] == EXPERTS // 2).all()
    assert np.array_equal(counts[~none], (np.array(found.scores) > 0).sum(-1)[~none])
    assert (np.array(found.weights) > 0).sum() == counts.sum()
    np.testing.assert_allclose(np.array(found.weights).sum(-1), 1, atol=1e-6)


def test_equal_cosines_count_in_the_order_of_the_experts():
    # One coordinate: a sum of several is rounded otherwise for some of the experts.
    one = mx.array([1.0] + [0.0] * (DIM - 1))
    x = mx.repeat(-one[None], 3, axis=0)
    found = DynamicGate(mx.repeat(one[None], EXPERTS, axis=0), mx.full(EXPERTS, 9.0))(x)
    assert np.array(found.fallback).all()
    assert np.array(found.active).tolist() == [[True] * 3 + [False] * 3] * 3
    chosen = TopKGate(mx.zeros((EXPERTS, DIM)), 2)(x)
    assert np.array(chosen.active).tolist() == [[True] * 2 + [False] * 4] * 3


def block(seed=0, factor=0.0, gate=None):
    rng = np.random.default_rng(seed)
    experts = mlx_lm("models.switch_layers").SwitchGLU(DIM, WIDTH, EXPERTS)
    for name in ("gate_proj", "up_proj", "down_proj"):
        shape = experts[name].weight.shape
        experts[name].weight = mx.array(rng.standard_normal(shape).astype(np.float32) / 3)
    x, prototypes, thresholds = drawn(seed)
    gate = gate or DynamicGate(mx.array(prototypes), mx.array(thresholds))
    return GatedMixture(gate, experts, factor, Record()), x


def dense(mixture, x):
    """Outputs of all experts in float64, (tokens, experts, dim)."""
    inner = mixture.switch_mlp
    gate, up, down = (
        np.asarray(inner[name].weight, np.float64) for name in ("gate_proj", "up_proj", "down_proj")
    )
    x = np.asarray(x, np.float64)
    first = np.einsum("td,ewd->tew", x, gate)
    hidden = first / (1 + np.exp(-first)) * np.einsum("td,ewd->tew", x, up)
    return np.einsum("tew,edw->ted", hidden, down)


@pytest.mark.parametrize("factor", [0.0, 6.0])
def test_a_mixture_is_the_weighted_sum(factor):
    mixture, x = block(3, factor)
    right = wanted(x, mixture.gate.prototypes, mixture.gate.thresholds)
    scale = right.active.sum(1, keepdims=True) / factor if factor else 1
    outputs = dense(mixture, x)
    y = np.einsum("te,ted->td", right.weights * scale, outputs)
    np.testing.assert_allclose(np.array(mixture(mx.array(x))), y, atol=1e-5)
    norms = np.linalg.norm(outputs, axis=-1)
    np.testing.assert_allclose(np.array(mixture.output_norms(mx.array(x))), norms, atol=1e-5)


def test_parts_of_which_all_are_active_are_the_block():
    """Whatever their number: with equal weights the scale K / N gives the plain sum."""
    gate = TopKGate(mx.zeros((EXPERTS, DIM)), EXPERTS)
    mixture, x = block(4, float(EXPERTS), gate)
    whole = dense(mixture, x) / EXPERTS
    np.testing.assert_allclose(np.array(mixture(mx.array(x))), whole.sum(1), atol=1e-5)
    gate.active = 2
    np.testing.assert_allclose(np.array(mixture(mx.array(x))), whole[:, :2].sum(1), atol=1e-5)


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_the_stock_router_is_the_stock_router(family):
    module = mlx_lm(f"models.{family}")
    sizes = {
        "hidden_size": DIM, "intermediate_size": WIDTH, "moe_intermediate_size": WIDTH,
        "num_local_experts": EXPERTS, "num_experts": EXPERTS, "num_experts_per_tok": 2,
        "norm_topk_prob": True,
    }  # fmt: skip
    kind = {"mixtral": "MixtralSparseMoeBlock", "qwen3_moe": "Qwen3MoeSparseMoeBlock"}[family]
    mx.random.seed(0)
    stock = getattr(module, kind)(SimpleNamespace(**sizes))
    ours = GatedMixture(TopKGate(stock.gate.weight, 2), stock.switch_mlp, 0.0, Record())
    x = mx.array(drawn(5)[0])
    np.testing.assert_allclose(np.array(ours(x)), np.array(stock(x)), atol=1e-6)


@pytest.mark.parametrize("what", ["prototypes", "thresholds", "x"])
def test_gradients_are_finite_differences(what):
    """Away from thresholds, where the output jumps and has no derivative."""
    mixture, x = block(6, 6.0)
    x = x[:3]
    arrays = {
        "prototypes": np.array(mixture.gate.prototypes),
        "thresholds": np.array(mixture.gate.thresholds),
        "x": x,
    }
    slope = np.random.default_rng(7).standard_normal((3, DIM))

    def loss(value):
        mixture.gate.prototypes = mx.array(arrays["prototypes"])
        mixture.gate.thresholds = mx.array(arrays["thresholds"])
        if what != "x":
            setattr(mixture.gate, what, value)
        return (mixture(value if what == "x" else mx.array(x)) * mx.array(slope)).sum()

    def exact(value):
        values = {**arrays, what: value}
        right = wanted(values["x"], values["prototypes"], values["thresholds"])
        weights = right.weights * right.active.sum(1, keepdims=True) / 6
        return (np.einsum("te,ted->td", weights, dense(mixture, values["x"])) * slope).sum()

    found = np.array(mx.grad(loss)(mx.array(arrays[what])))
    at, step = arrays[what].astype(np.float64), 1e-6
    right = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        pair = [at.copy(), at.copy()]
        pair[0][index] += step
        pair[1][index] -= step
        right[index] = (exact(pair[0]) - exact(pair[1])) / (2 * step)
    assert np.abs(right).max() > 1e-3
    assert np.linalg.norm(found - right) / np.linalg.norm(right) < 1e-2


def test_gates_that_begin_with_what_experts_do():
    """Outputs that grow with one direction each are found, and the share that fires is kept."""
    rng = np.random.default_rng(8)
    directions = np.linalg.qr(rng.standard_normal((DIM, EXPERTS)))[0].T
    inputs = (2 + rng.standard_normal((4000, DIM))).astype(np.float32)
    units = inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
    norms = (3 + units @ directions.T).astype(np.float32)
    seen = Seen(inputs, norms)
    for share in (0.25, 0.75):
        found = fitted_gate(seen, None, share)(mx.array(inputs))
        assert np.array(found.scores > 0).mean() == pytest.approx(share, abs=0.01)
        drawn_one = drawn_gate(seen, None, share, (0, 1))
        fires = np.array(drawn_one(mx.array(inputs)).scores > 0).mean(0)
        np.testing.assert_allclose(fires, share, atol=0.01)
    best = np.argsort(-norms, axis=1)[:, :3]
    chosen = np.array(fitted_gate(seen, 3, 0.5)(mx.array(inputs)).active)
    assert np.take_along_axis(chosen, best, 1).mean() > 0.9
    same = [np.array(drawn_gate(seen, 2, 0.5, (0, 1)).weight) for _ in range(2)]
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], np.array(drawn_gate(seen, 2, 0.5, (1, 1)).weight))


def test_a_gate_learns():
    """Thresholds and prototypes go where a teacher's are."""
    x, prototypes, thresholds = drawn(9, 200)
    teacher, x = block(9)[0], mx.array(x)
    y = teacher(x)
    student = block(9)[0]
    student.gate = DynamicGate(
        mx.array(prototypes + 0.2 * drawn(10)[1]), mx.array(thresholds + 0.3)
    )
    student.freeze()
    student.gate.unfreeze()
    optimizer = Adam(1e-2)
    step = nn.value_and_grad(student, lambda: mx.mean((student(x) - y) ** 2))
    losses = []
    for _ in range(30):
        loss, gradients = step()
        optimizer.update(student, gradients)
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
