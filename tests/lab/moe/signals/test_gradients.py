"""Gradients by probes, against finite differences, other ways to them, and the gate's weights."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from tiny_llm import log_probabilities
from tiny_mixtures import FAMILIES, mixture, rows

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.moe.gate.dynamic import DynamicGate
from mlx_probe.lab.moe.gate.install import install_gates
from mlx_probe.lab.moe.gate.top_k import TopKGate
from mlx_probe.lab.moe.routing.blocks import find_blocks
from mlx_probe.lab.moe.signals.calls import called_through
from mlx_probe.lab.moe.signals.gradients import stream_shape, window_gradients
from mlx_probe.lab.moe.signals.window import measure_window
from mlx_probe.lab.train.loss import mean_nats

TOKENS = rows()[0]


@pytest.fixture(autouse=True, scope="module")
def on_cpu():
    with mx.stream(mx.cpu):
        yield


@pytest.fixture(scope="module", params=["qwen3_moe", "mixtral"])
def measured(request, on_cpu):
    """A model, its mixtures, and the gradients of a window."""
    model = mixture(request.param)
    blocks = find_blocks(model, "tiny")
    return model, blocks, window_gradients(model, blocks, TOKENS, "tiny")


def loss_of(model):
    return float(mean_nats(model, mx.array(TOKENS[None])))


def slopes(model, module, change, size, step=0.03):
    """Central differences of the loss by each number that is added to what a call gives or takes.

    `change(inner, delta, *args)` makes the call with delta (size,) added somewhere.
    """
    found = []
    for unit in np.eye(size, dtype="f4"):
        ends = []
        for sign in (step, -step):
            delta = mx.array(sign * unit)
            call = (module, lambda inner, *args, _d=delta, **kw: change(inner, _d, *args, **kw))
            with called_through([call]):
                ends.append(loss_of(model))
        found.append((ends[0] - ends[1]) / (2 * step))
    return np.array(found)


def placed(shape, place, delta):
    """Zeros with delta at a place."""
    zeros = np.zeros(shape, "f4")
    zeros[place] = np.array(delta)
    return mx.array(zeros)


# Behind the second mixture no router can change its mind between the two ends of a difference.
@pytest.mark.parametrize(("number", "token", "choice"), [(0, 3, 0), (1, 17, 1)])
def test_output_surprise_is_the_slope_by_an_experts_output(measured, number, token, choice):
    model, blocks, found = measured
    experts = blocks[number].module[blocks[number].experts_key]

    def change(inner, delta, x, indices):
        outputs = inner(x, indices)
        return outputs + placed(outputs.shape, (0, token, choice), delta)

    wanted = np.linalg.norm(slopes(model, experts, change, 32))
    assert found.experts[number].output[token, choice] == pytest.approx(wanted, rel=1e-2)


@pytest.mark.parametrize(("number", "token", "choice"), [(0, 3, 0), (1, 17, 1)])
def test_input_surprise_is_the_slope_by_one_experts_input(measured, number, token, choice):
    """Other experts of the token get it as it is: the one is computed here, from its weights."""
    model, blocks, found = measured
    experts = blocks[number].module[blocks[number].experts_key]
    expert = int(found.experts[number].indices[token, choice])
    gate, up, down = (
        np.array(matrix.weight[expert], np.float64)
        for matrix in (experts.gate_proj, experts.up_proj, experts.down_proj)
    )

    def says(x):
        opened = gate @ x
        return down @ (opened / (1 + np.exp(-opened)) * (up @ x))

    def change(inner, delta, x, indices):
        outputs, before = inner(x, indices), np.array(x[0, token], np.float64)
        more = says(before + np.array(delta)) - says(before)
        return outputs + placed(outputs.shape, (0, token, choice), more)

    wanted = np.linalg.norm(slopes(model, experts, change, 32))
    assert found.experts[number].input[token, choice] == pytest.approx(wanted, rel=1e-2)


def test_the_stream_and_the_block(measured):
    model, blocks, found = measured

    def change(inner, delta, *args, **kwargs):
        result = inner(*args, **kwargs)
        return result + placed(result.shape, (0, 5), delta)

    wanted = slopes(model, model.layers[0], change, 32)
    assert np.linalg.norm(found.stream[0][5] - wanted) < 1e-2 * np.linalg.norm(wanted)
    wanted = np.linalg.norm(slopes(model, blocks[0].module, change, 32))
    assert found.experts[0].block[5] == pytest.approx(wanted, rel=1e-2)


def test_output_surprise_is_the_gate_weight_times_the_common_norm(measured):
    """With the weights of the model's own router, computed from what the block is given."""
    model, blocks, found = measured
    given = []

    def keep(inner, x):
        given.append(np.array(x[0], np.float64))
        return inner(x)

    with called_through([(block.module, keep) for block in blocks]):
        mx.eval(model(mx.array(TOKENS[None, :-1])))
    for block, x, each in zip(blocks, given, found.experts, strict=True):
        gates = x @ np.array(block.module.gate.weight, np.float64).T
        chosen = np.take_along_axis(gates, each.indices, 1)
        assert chosen.min() >= np.sort(gates, 1)[:, -2:].min() - 1e-4
        weights = np.exp(chosen) / np.exp(chosen).sum(1, keepdims=True)
        wanted = weights * each.block[:, None]
        np.testing.assert_allclose(each.output, wanted, rtol=1e-5, atol=1e-5 * wanted.max())


def test_error_uncertainty_and_the_gradient_of_all_parameters(measured):
    model, _, found = measured
    logs = log_probabilities(model, TOKENS[:-1])
    np.testing.assert_allclose(found.nats, -logs[np.arange(20), TOKENS[1:]], rtol=1e-5)
    np.testing.assert_allclose(found.entropy, -(np.exp(logs) * logs).sum(1), rtol=1e-5)
    _, gradients = nn.value_and_grad(model, mean_nats)(model, mx.array(TOKENS[None]))
    squares = [np.square(np.array(g, np.float64)).sum() for _, g in tree_flatten(gradients)]
    assert found.grad_norm == pytest.approx(np.sqrt(sum(squares)), rel=1e-5)


def test_the_model_is_as_before(measured):
    model, blocks, found = measured
    kinds = [type(layer) for layer in model.layers]
    weights = [name for name, _ in tree_flatten(model.parameters())]
    before = np.array(model(mx.array(TOKENS[None])))
    again = window_gradients(model, blocks, TOKENS, "tiny")
    assert again.grad_norm == found.grad_norm
    assert [type(layer) for layer in model.layers] == kinds
    assert [name for name, _ in tree_flatten(model.parameters())] == weights
    assert np.array_equal(np.array(model(mx.array(TOKENS[None]))), before)

    def fail(inner, *args, **kwargs):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), called_through([(model.layers[1], fail)]):
        model(mx.array(TOKENS[None]))
    assert [type(layer) for layer in model.layers] == kinds


def test_gates_of_ours():
    """The same router in a mixture that computes all experts at once; and a dynamic gate."""
    model, other = mixture("qwen3_moe"), mixture("qwen3_moe")
    install_gates(other, "mlp", lambda _, block: TopKGate(block.gate.weight, 2), 0.0)
    found, wanted = (
        measure_window(each, find_blocks(each, "m"), TOKENS, 8, "m", each_token=False)
        for each in (other, model)
    )
    for ours, stock in zip(found.experts, wanted.experts, strict=True):
        for name in ("tokens", "least_weight", "counted"):
            assert np.array_equal(getattr(ours, name), getattr(stock, name)), name
        for name in ("weight", "output", "input"):
            np.testing.assert_allclose(getattr(ours, name), getattr(stock, name), rtol=1e-3)
        assert ours.off[0] < 1e-5
    dynamic = mixture("qwen3_moe")
    prototypes = np.random.default_rng(0).standard_normal((8, 32)).astype("f4")
    gate = DynamicGate(mx.array(prototypes), mx.full(8, -2.0))
    record = install_gates(dynamic, "mlp", lambda *_: gate, 8.0)
    found = measure_window(dynamic, find_blocks(dynamic, "m"), TOKENS, 8, "m", each_token=False)
    with record.kept() as routing:
        mx.eval(dynamic(mx.array(TOKENS[None, :-1])))
    for each, said in zip(found.experts, routing, strict=True):
        np.testing.assert_array_equal(each.tokens, np.array(said.active[0]).sum(0))
        assert each.off[0] < 1e-5


# Their routers' choices are in the way of the gradient.
WITHOUT_GRADIENT = {"deepseek_v41"}


@pytest.mark.parametrize("family", sorted(WITHOUT_GRADIENT))
def test_what_mlx_lm_cannot_differentiate_is_refused(family):
    model = mixture(family)
    before = {name: type(module) for name, module in model.named_modules()}
    with pytest.raises(ConfigError, match=f"{family} cannot be differentiated"):
        window_gradients(model, find_blocks(model, family), TOKENS, family)
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert np.isfinite(np.array(model(mx.array(TOKENS[None])))).all()


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - WITHOUT_GRADIENT))
def test_every_family(family):
    """Tokens add up, and the identity holds with the weights that `watched_mixtures` reads."""
    model = mixture(family)
    blocks = find_blocks(model, family)
    found = measure_window(model, blocks, TOKENS, 8, family, each_token=True)
    layers, width = stream_shape(model, TOKENS[:1], family)
    assert found.sps_tokens.shape == (20, layers, width // 8)
    np.testing.assert_allclose(found.sps, found.sps_tokens.sum(0), atol=1e-4)
    for block, each in zip(blocks, found.experts, strict=True):
        assert len(each.tokens) == block.experts
        identity = getattr(block.module, "zero_expert_num", 0)
        active = 20 if family == "llama4" else 40
        assert each.tokens.sum() <= 60 if identity else each.tokens.sum() == active
        assert each.off[0] < 1e-5
        assert each.output_agrees[0] == each.counted[0] >= each.input_agrees[0]
        assert each.least_weight.sum() == each.least_input.sum() == each.counted[0]
