"""Heads that cannot be computed: each says why, and the others are computed."""

import numpy as np
import pytest
from head_models import GQA, NAMES, attention, config_of, dense, named, products, rows_of


def without(kind):
    return lambda arrays: {n: a for n, a in arrays.items() if n != NAMES[kind]}


def replaced(kind, *shape):
    return lambda arrays: {**arrays, NAMES[kind]: np.ones(shape)}


LATENT = {
    f"model.layers.0.self_attn.{name}.weight": np.ones(shape)
    for name, shape in {
        "q_proj": (32, 32), "kv_a_proj_with_mqa": (12, 32), "kv_b_proj": (64, 8), "o_proj": (32, 32)
    }.items()
}  # fmt: skip
SKIPPED = {
    "no counts": ({}, lambda a: a, None, "number of heads"),
    "odd counts": (config_of(4, 3, 8, 32), lambda a: a, None, "cannot share"),
    "latent": (GQA, lambda _: LATENT, None, "latent"),
    "unsplit": (
        {},
        lambda _: {"model.layers.0.self_attn.qkv_proj.weight": np.ones((64, 32))},
        None,
        "qkv_proj is fused",
    ),
    "tower": (
        GQA,
        lambda a: {f"vision_tower.{n}": m for n, m in a.items()},
        None,
        "not for vision",
    ),
    "no key": (GQA, without("k"), "qk", "no k_proj"),
    "no value": (GQA, without("v"), "ov", "no v_proj"),
    "gated query": (GQA, replaced("q", 64, 32), "qk", "contradict"),
    "other kv": (GQA, replaced("k", 32, 32), "qk", "contradict"),
    "other values": (GQA, replaced("v", 20, 32), "ov", "contradict"),
    "not heads": (GQA, replaced("q", 31, 32), "qk", "31 lines are not 4 heads"),
    "integers": (
        GQA,
        lambda a: {**a, NAMES["k"]: (np.ones((16, 32), np.int8), "I8")},
        "qk",
        "integers",
    ),
    "two of a kind": (
        GQA,
        lambda a: {**a, "model.layers.0.self_attn.wq.weight": a[NAMES["q"]]},
        "qk",
        "several q_proj",
    ),
}


@pytest.mark.parametrize("case", SKIPPED)
def test_what_cannot_be_computed_says_why(rng, case):
    config, edit, circuit, reason = SKIPPED[case]
    rows = rows_of(edit(named(attention(rng, 4, 2, 8, 32))), config)
    skipped = [row for row in rows if row["status"] != "ok"]
    assert [(row["status"], row.get("circuit")) for row in skipped] == [("skipped", circuit)]
    assert reason in skipped[0]["status_reason"]
    assert skipped[0]["layer_index"] == 0
    # The other circuit is there.
    counted = config.get("num_attention_heads", 0) if circuit else 0
    assert len(rows) - 1 == counted


def test_heads_of_another_width_than_the_configuration_has_are_no_heads(rng):
    # Half as many heads of twice the width would fit the shapes of all four matrices.
    rows = rows_of(named(attention(rng, 4, 2, 8, 32)), config_of(2, 1, 8, 32))
    assert [(row["circuit"], row["status"]) for row in rows] == [
        ("qk", "skipped"),
        ("ov", "skipped"),
    ]
    assert all("of 8 by the configuration" in row["status_reason"] for row in rows)


def test_what_is_not_finite_costs_the_heads_that_it_is_in(rng):
    matrices = attention(rng, 4, 2, 8, 32)
    matrices["k"][9, 3] = np.inf
    matrices["o"][5, 0] = np.nan
    rows = rows_of(named(matrices), GQA)
    status = {(row["head_index"], row["circuit"]): row["status"] for row in rows}
    spoilt = {(2, "qk"), (3, "qk"), (0, "ov")}
    assert {key for key, value in status.items() if value == "nonfinite"} == spoilt
    assert {value for key, value in status.items() if key not in spoilt} == {"ok"}
    clean = {
        **matrices,
        "k": np.nan_to_num(matrices["k"], posinf=0.0),
        "o": np.nan_to_num(matrices["o"]),
    }
    expected = {(h, c): dense(m, 8)["nuclear_norm"] for h, c, m in products(clean, 4, 2)}
    for row in rows:
        key = row["head_index"], row["circuit"]
        if key not in spoilt:
            assert row["nuclear_norm"] == pytest.approx(expected[key], rel=1e-9)
