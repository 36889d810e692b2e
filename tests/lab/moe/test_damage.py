"""A mixture with fewer experts for each token, against numpy in float64."""

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm

from mlx_probe.lab.moe.damage import TopExperts
from mlx_probe.lab.moe.graft import GraftConfig, graft_model
from mlx_probe.lab.moe.hidden import watch_hidden


@pytest.fixture(autouse=True)
def on_cpu():
    with mx.stream(mx.cpu):
        yield


def block_of(dense, out, form):
    """The first mixture of a graft: the module, and its experts in float64."""
    split = {"split": "random"} if form == "sum" else {}
    graft_model(str(dense.qwen3), out, GraftConfig(form=form, experts=6, run=False, **split))
    model, _ = mlx_lm("utils").load_model(out)
    block = model.layers[0].mlp
    experts = [
        np.array(matrix.weight, np.float64)
        for matrix in (
            block.switch_mlp.gate_proj, block.switch_mlp.up_proj, block.switch_mlp.down_proj
        )
    ]  # fmt: skip
    return block, experts, np.array(block.gate.weight, np.float64)


@pytest.mark.parametrize("form", ["sum", "drop"])
@pytest.mark.parametrize("active", [6, 4, 1])
def test_the_experts_that_are_left(dense, tmp_path, form, active):
    block, (gate, up, down), router = block_of(dense, tmp_path / "out", form)
    x = np.random.default_rng(0).standard_normal((1, 9, 32)).astype("f4")
    mixture = TopExperts(block, form == "sum")
    assert mixture.active == 6
    mixture.active = active
    found = np.array(mixture(mx.array(x)))[0]
    for token, got in zip(x[0].astype("f8"), found, strict=True):
        opened = gate @ token
        hidden = opened / (1 + np.exp(-opened)) * (up @ token)
        outputs = np.einsum("edw,ew->ed", down, hidden)
        if form == "sum":
            best = np.argsort(-np.linalg.norm(outputs, axis=1))[:active]
            wanted = outputs[best].sum(0) / 6
        else:
            gates = router @ token
            best = np.argsort(-gates)[:active]
            share = np.exp(gates[best]) / np.exp(gates[best]).sum()
            wanted = share @ outputs[best]
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    if form == "sum" and active == 6:
        np.testing.assert_allclose(found, np.array(block(mx.array(x)))[0], rtol=1e-4, atol=1e-5)


def test_hidden_units_are_seen_and_the_model_stays(dense):
    model, _ = mlx_lm("utils").load_model(dense.llama)
    rows = np.arange(26, dtype=np.int32).reshape(2, 13)
    before = np.array(model(mx.array(rows)))
    seen = {}
    watch_hidden(model, rows, seen.__setitem__)
    assert {layer: each.shape for layer, each in seen.items()} == {0: (24, 48), 1: (24, 48)}
    assert np.array_equal(np.array(model(mx.array(rows))), before)
    # The last layer's units give what it adds to the stream.
    layer, inputs = model.layers[1], []
    norm = layer.post_attention_layernorm

    class Watched(type(norm)):
        def __call__(self, x):
            inputs.append(norm(x))
            return inputs[-1]

    layer.post_attention_layernorm = Watched(32)
    model(mx.array(rows[:, :-1]))
    x = np.array(inputs[0], np.float64).reshape(24, 32)
    opened = x @ np.array(layer.mlp.gate_proj.weight).T
    wanted = opened / (1 + np.exp(-opened)) * (x @ np.array(layer.mlp.up_proj.weight).T)
    np.testing.assert_allclose(seen[1], wanted, rtol=1e-3, atol=1e-4)
