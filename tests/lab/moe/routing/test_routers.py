"""What is known of routers, against numpy and against what blocks do."""

import mlx.core as mx
import numpy as np
import pytest
from dense_mixtures import ROWS, block_inputs, grouped_choice, logits_of, sigmoid, softmax
from project import ROOT
from tiny_mixtures import ACTIVE, EXPERTS, FAMILIES, loaded, mixture

from mlx_probe.lab.moe.routing import measure_routing
from mlx_probe.lab.moe.routing.blocks import find_blocks
from mlx_probe.lab.moe.routing.routers import ROUTERS, Router

# Where the router is, of families that choose by softmax.
SOFTMAX = {
    "qwen3_moe": lambda block: block.gate,
    "olmoe": lambda block: block.gate,
    "mixtral": lambda block: block.gate,
    "gpt_oss": lambda block: block.router,
    "granitemoe": lambda block: block.router.layer,
}


@pytest.fixture(autouse=True)
def on_cpu():
    with mx.stream(mx.cpu):
        yield


def routers_of(model):
    return [each.router for each in measure_routing(loaded(model), ROWS, lambda *_: None).layers]


def entropy_of(shares):
    shares = shares / shares.sum(1, keepdims=True)
    return -(shares * np.log(shares)).sum(1).mean()


@pytest.mark.parametrize("family", SOFTMAX)
def test_entropy_and_margin_of_softmax(family):
    model = mixture(family)
    for router, block in zip(routers_of(model), find_blocks(model, "tiny"), strict=True):
        x = block_inputs(model, block)
        shares = softmax(logits_of(SOFTMAX[family](block.module), x))
        ranked = np.sort(shares, 1)[:, ::-1]
        assert router.terms == "softmax"
        assert router.entropy == pytest.approx(entropy_of(shares), rel=1e-5)
        margin = (ranked[:, ACTIVE - 1] - ranked[:, ACTIVE]).mean()
        assert router.margin == pytest.approx(margin, rel=1e-4)


def test_entropy_and_margin_of_groups_of_sigmoids():
    model = mixture("deepseek_v3")
    for router, block in zip(routers_of(model), find_blocks(model, "tiny"), strict=True):
        x = block_inputs(model, block)
        choice = np.sort(grouped_choice(block.module, x, -np.inf), 1)[:, ::-1]
        assert router.terms == "sigmoid + bias"
        entropy = entropy_of(sigmoid(logits_of(block.module.gate, x)))
        assert router.entropy == pytest.approx(entropy, rel=1e-5)
        margin = (choice[:, ACTIVE - 1] - choice[:, ACTIVE]).mean()
        assert router.margin == pytest.approx(margin, rel=1e-4)


def test_every_entry_has_a_mixture_that_it_is_compared_with():
    """`test_measure.py` lets each of them read."""
    assert set(ROUTERS) <= set(FAMILIES)


@pytest.mark.parametrize(
    "wrong",
    [
        Router("gate", "sigmoid"),
        Router("gate", bias="bent"),
        Router("gate", groups=("two", "one")),
    ],
    ids=["other shares", "a bias", "groups"],
)
def test_an_entry_that_is_wrong_is_not_believed(wrong, monkeypatch):
    monkeypatch.setitem(ROUTERS, "qwen3_moe", wrong)
    model = mixture("qwen3_moe")
    for layer in model.layers:
        layer.mlp.bent, layer.mlp.two, layer.mlp.one = mx.arange(EXPERTS) / 10, 2, 1
    for router in routers_of(model):
        assert router.reason == "the router of qwen3_moe chooses otherwise than is known"
        assert (router.terms, router.entropy, router.margin) == (None, None, None)


def test_what_is_not_known_has_a_reason(monkeypatch):
    for router in routers_of(mixture("longcat_flash")):
        assert router.reason == "the router of longcat_flash is not known"
    monkeypatch.setitem(ROUTERS, "mixtral", Router("gate", "curve"))
    model = mixture("mixtral")
    for layer in model.layers:
        layer.block_sparse_moe.curve = "sqrtsoftplus"
    for router in routers_of(model):
        assert "scores by sqrtsoftplus" in router.reason


def test_a_softcap_is_noticed():
    """Laguna may bound its logits, which the entry does not know: shares are other ones."""
    model = mixture("laguna", moe_router_logit_softcapping=0.5)
    assert {router.reason for router in routers_of(model)} == {
        "the router of laguna chooses otherwise than is known"
    }


def test_equal_scores_and_all_experts():
    model = mixture("mixtral", num_experts_per_tok=EXPERTS)
    for layer in model.layers:
        layer.block_sparse_moe.gate.weight = mx.zeros_like(layer.block_sparse_moe.gate.weight)
    for router in routers_of(model):
        assert router.reason is None
        assert router.entropy == pytest.approx(np.log(EXPERTS))
        assert router.margin is None
    model = mixture("qwen3_moe")
    for layer in model.layers:
        layer.mlp.gate.weight = mx.zeros_like(layer.mlp.gate.weight)
    assert [router.margin for router in routers_of(model)] == [0, 0]


def test_the_page_names_every_family():
    page = (ROOT / "docs" / "en" / "moe-stats.md").read_text("utf-8")
    assert not [family for family in ROUTERS if f"`{family}`" not in page]
