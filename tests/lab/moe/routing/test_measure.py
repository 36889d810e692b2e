"""Loads and saliency of tiny mixtures, against numpy in float64."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from dense_mixtures import ROWS, WEIGHTS, block_inputs, dense_outputs
from mlx.utils import tree_map
from tiny_mixtures import ACTIVE, EXPERTS, FAMILIES, loaded, mixture

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.lab.moe.routing import measure_routing
from mlx_probe.lab.moe.routing.blocks import find_blocks
from mlx_probe.lab.moe.routing.routers import ROUTERS


@pytest.fixture(autouse=True)
def on_cpu():
    with mx.stream(mx.cpu):
        yield


def measured(model, tokens=ROWS):
    return measure_routing(loaded(model), tokens, lambda *_: None)


@pytest.mark.parametrize("family", WEIGHTS)
def test_saliency_is_its_formula(family):
    """REAP: the mean over an expert's tokens of weight times norm of its output."""
    model = mixture(family)
    found = measured(model)
    for layer, block in zip(found.layers, find_blocks(model, "tiny"), strict=True):
        x = block_inputs(model, block)
        weights = WEIGHTS[family](block.module, x)
        outputs = dense_outputs(family, block.module[block.experts_key], x)
        norms, active = np.linalg.norm(outputs, axis=-1), weights > 0
        with np.errstate(invalid="ignore"):
            saliency = (weights * norms).sum(0) / active.sum(0)
            of_norm = (norms * active).sum(0) / active.sum(0)
            of_weight = weights.sum(0) / active.sum(0)
        np.testing.assert_array_equal(layer.assignments, active.sum(0))
        np.testing.assert_allclose(layer.saliency, saliency, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(layer.output_norm, of_norm, rtol=2e-6)
        np.testing.assert_allclose(layer.mean_weight, of_weight, rtol=1e-6, atol=1e-6)
        ensemble = np.einsum("tn,tnd->td", weights, outputs)
        cosines = np.einsum("tnd,td->tn", outputs, ensemble) / (
            norms * np.linalg.norm(ensemble, axis=-1)[:, None]
        )
        with np.errstate(invalid="ignore"):
            agreement = (cosines * active).sum(0) / active.sum(0)
        np.testing.assert_allclose(layer.agreement, agreement, rtol=1e-5, atol=1e-6)
        first = cosines[np.arange(len(x)), weights.argmax(1)].mean()
        assert layer.first_agreement == pytest.approx(first, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_understood_and_stays_as_it_is(family):
    model = mixture(family)
    tokens = mx.array(ROWS[:, :-1])
    before, parameters = np.array(model(tokens)), str(model)
    seen = []
    found = measure_routing(loaded(model), ROWS, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert str(model) == parameters
    assert np.array_equal(np.array(model(tokens)), before)
    assert len(found.tokens) == len(found.positions) == ROWS[:, :-1].size
    for layer in found.layers:
        assert layer.experts == EXPERTS
        assert layer.load.sum() == pytest.approx(1)
        assert layer.assignments.sum() == layer.active.sum()
        # LongCat chooses among identity experts, too, which are none of the eight.
        if family != "longcat_flash":
            count = 1 if family == "llama4" else ACTIVE
            assert layer.assignments.sum() == count * len(found.tokens)
        # Every family is watched; routers are known of those in the table.
        named = type(find_blocks(model, "tiny")[0].module).__module__.rpartition(".")[-1]
        assert (layer.router.reason is None) == (named in ROUTERS)
        if named in ROUTERS:
            assert 0 < layer.router.entropy < np.log(EXPERTS)
            assert layer.router.margin > 0
        # An expert that no token chose has no means, and only that.
        unused = layer.assignments == 0
        for means in (layer.saliency, layer.output_norm, layer.mean_weight, layer.agreement):
            assert np.array_equal(np.isnan(means), unused)


def test_logits_while_it_is_watched_are_the_same_bits():
    from mlx_probe.lab.moe.routing.capture import watched_mixtures

    for family in WEIGHTS:
        model = mixture(family)
        tokens = mx.array(ROWS[:, :-1])
        before = np.array(model(tokens))
        with watched_mixtures(model, "tiny", lambda run: None):
            assert np.array_equal(np.array(model(tokens)), before)


def test_experts_that_weigh_nothing_are_not_chosen_where_all_are_computed():
    model = mixture("mixtral", num_experts_per_tok=EXPERTS)
    # The weight of expert 3 vanishes for every token.
    for layer in model.layers:
        layer.post_attention_layernorm.weight = mx.abs(layer.post_attention_layernorm.weight)
        layer.block_sparse_moe.gate = _Without(layer.block_sparse_moe.gate, 3)
    for layer in measured(model).layers:
        assert layer.assignments[3] == 0
        assert layer.assignments.sum() == (EXPERTS - 1) * ROWS[:, :-1].size


class _Without(nn.Module):
    def __init__(self, inner, expert):
        super().__init__()
        self.inner, self._expert = inner, expert

    def __call__(self, x):
        return mx.where(mx.arange(EXPERTS) == self._expert, -mx.inf, self.inner(x))


@pytest.mark.parametrize("family", WEIGHTS)
def test_weights_of_16_bits(family, monkeypatch):
    """As on a GPU: MLX's CPU gathers in float32 alone."""
    gather = mx.gather_mm

    def rounded(a, b, **settings):
        found = gather(a.astype(mx.float32), b.astype(mx.float32), **settings)
        return found.astype(a.dtype)

    model = mixture(family)
    for name, tolerance in (("float16", 2e-3), ("bfloat16", 1e-2)):
        narrow = mixture(family)
        narrow.set_dtype(getattr(mx, name))
        # The same numbers, computed in float32.
        model.update(tree_map(lambda array: array.astype(mx.float32), narrow.parameters()))
        exact = measured(model)
        with monkeypatch.context() as patch:
            patch.setattr(mx, "gather_mm", rounded)
            found = measured(narrow)
        for layer, other in zip(found.layers, exact.layers, strict=True):
            assert layer.router.reason is None
            assert layer.assignments.sum() == ACTIVE * ROWS[:, :-1].size
            # Some tokens have other experts; what is left is rounded.
            same = (layer.indices == other.indices).all(1)
            assert same.mean() > 0.5
            scale = tolerance * np.abs(other.weights).max()
            assert np.median(np.abs(layer.weights - other.weights)[same]) < scale


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "olmoe"])
def test_packed_experts(family):
    model = mixture(family, intermediate_size=32, moe_intermediate_size=32)
    nn.quantize(model, group_size=32, bits=8)
    for layer in measured(model).layers:
        assert layer.assignments.sum() == ACTIVE * ROWS[:, :-1].size
        assert layer.router.reason is None


class Bent(nn.Module):
    """A block that does something to the sum of the experts' outputs."""

    def __init__(self, inner, bend):
        super().__init__()
        self.gate, self.switch_mlp, self._bend = inner.gate, inner.switch_mlp, bend

    def __call__(self, x):
        weights = mx.softmax(self.gate(x), axis=-1)
        indices = mx.broadcast_to(mx.arange(EXPERTS), weights.shape)
        return self._bend((self.switch_mlp(x, indices) * weights[..., None]).sum(-2))


@pytest.mark.parametrize(
    "bend",
    [
        mx.tanh,
        lambda y: y * mx.rsqrt(mx.mean(y * y, -1, keepdims=True)),
        lambda y: y * mx.linspace(1, 1.01, y.shape[-1]),
        lambda y: y[..., ::-1],
        lambda y: mx.concatenate([y, y], -1)[..., : y.shape[-1] + 1],
    ],
    ids=["bounded", "normed", "scaled by channel", "permuted", "wider"],
)
def test_a_block_that_does_more_is_refused(bend):
    model = mixture("qwen3_moe")
    model.layers[1].mlp = Bent(model.layers[1].mlp, bend)
    with pytest.raises(ConfigError, match=r"model\.layers\.1\.mlp is a Bent") as caught:
        measured(model)
    assert "without --data" in caught.value.remedy
    assert isinstance(model.layers[1].mlp, Bent)


def test_mixtures_that_do_not_run_are_left_out():
    model = mixture("mixtral")
    model.model.spare = [mixture("mixtral").layers[0]]
    assert [layer.layer for layer in measured(model).layers] == [0, 1]

    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.spare, self.head = mixture("mixtral").layers[0], nn.Embedding(96, 96)

        def __call__(self, tokens):
            return self.head(tokens)

    with pytest.raises(ConfigError, match="no mixture of tiny takes part"):
        measured(Idle())


def test_experts_of_another_width_than_the_model_are_refused():
    model = mixture("nemotron_h", moe_latent_size=16)
    with pytest.raises(ConfigError, match=r"backbone\.layers\.1\.mixer is a NemotronHMoE"):
        measured(model)


def test_what_is_no_mixture_and_what_is_not_finite():
    from mlx_probe.lab.model.config import ModelConfig
    from mlx_probe.lab.model.mini_llm import MiniLLM

    dense = MiniLLM(ModelConfig(dim=32, layers=1, heads=4, kv_heads=2, hidden=48, vocabulary=96))
    with pytest.raises(ConfigError, match="tiny has no experts"):
        measured(dense)
    broken = mixture("mixtral")
    broken.layers[0].block_sparse_moe.gate.weight = mx.full((EXPERTS, 32), mx.nan)
    with pytest.raises(CheckpointError, match=r"model\.layers\.0\.block_sparse_moe gives"):
        measured(broken)
