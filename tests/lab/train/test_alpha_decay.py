"""AlphaDecay: exponents of planted spectra, the linear map, and what is left alone."""

import json
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from training import recipe_with

from mlx_probe.analysis.analyze import analyze
from mlx_probe.lab.train.alpha_decay import AlphaDecay, decay_multipliers, matrix_alpha
from mlx_probe.lab.train.train import train

ALPHAS = st.lists(st.floats(1.01, 50), min_size=2, max_size=9)


def planted(exponent, rows=96, cols=64, seed=0):
    """A matrix whose eigenvalues are the quantiles of a power law."""
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.standard_normal((rows, cols)))
    right, _ = np.linalg.qr(rng.standard_normal((cols, cols)))
    shares = (np.arange(cols) + 0.5) / cols
    eigenvalues = shares ** (-1 / (exponent - 1))
    return (left * np.sqrt(eigenvalues) @ right).astype(np.float32)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 4.5])
def test_planted_exponents(exponent):
    assert matrix_alpha(planted(exponent)) == pytest.approx(exponent, rel=0.1)
    assert matrix_alpha(planted(exponent).T) == pytest.approx(exponent, rel=0.1)


def test_it_is_the_column_of_analyze_bit_for_bit(tmp_path):
    rng = np.random.default_rng(1)
    matrices = {
        "model.layers.0.mlp.up_proj.weight": planted(2.5, 176, 64),
        "model.layers.0.self_attn.q_proj.weight": rng.standard_normal((64, 64), np.float32),
        "model.layers.0.mlp.down_proj.weight": planted(3.5, 176, 64).T.copy(),
    }
    save_file(matrices, tmp_path / "model.safetensors")
    run = analyze(tmp_path, out=tmp_path / "run", backend="numpy")
    rows = dict(
        zip(run.table["param_name"].to_pylist(), run.table["alpha"].to_pylist(), strict=True)
    )
    assert {name: matrix_alpha(matrix) for name, matrix in matrices.items()} == rows


def test_what_has_no_exponent():
    spoilt = planted(2.0)
    spoilt[3, 4] = np.nan
    assert matrix_alpha(spoilt) is None
    assert matrix_alpha(np.zeros((60, 60), np.float32)) is None
    assert matrix_alpha(np.eye(60, dtype=np.float32)) is None


@given(ALPHAS)
def test_the_map_is_linear_from_two_thirds_to_five(values):
    alphas = dict(enumerate(values))
    multipliers = decay_multipliers(alphas)
    least, most = min(alphas.values()), max(alphas.values())
    if least == most:
        assert set(multipliers.values()) == {1.0}
        return
    for name, value in alphas.items():
        expected = 2 / 3 + (5 - 2 / 3) * (value - least) / (most - least)
        assert multipliers[name] == pytest.approx(expected)


def test_a_heavier_tail_is_decayed_less():
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(3)]
    weights = {n: mx.array(planted(e)) for n, e in zip(names, (4.0, 2.0, 3.0), strict=True)}
    multipliers = AlphaDecay(10).multipliers(weights)
    assert multipliers[names[1]] == pytest.approx(2 / 3)
    assert multipliers[names[0]] == pytest.approx(5)
    assert multipliers[names[1]] < multipliers[names[2]] < multipliers[names[0]]


def test_embeddings_norms_and_narrow_matrices_are_left_alone():
    weights = {
        "model.embed_tokens.weight": mx.array(planted(2.0)),
        "lm_head.weight": mx.array(planted(2.0)),
        "model.norm.weight": mx.ones(64),
        "model.layers.0.input_layernorm.weight": mx.ones(64),
        "model.layers.0.self_attn.k_proj.weight": mx.array(planted(2.0)[:16]),
        "model.layers.0.mlp.up_proj.weight": mx.array(planted(2.0)),
        "model.layers.1.mlp.up_proj.weight": mx.array(planted(4.0)),
    }
    multipliers = AlphaDecay(10).multipliers(weights)
    assert multipliers.pop("model.layers.0.self_attn.k_proj.weight") == 1
    assert list(multipliers) == [
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.1.mlp.up_proj.weight",
    ]


def test_the_same_weights_give_the_same_bits_on_any_number_of_cores(monkeypatch):
    weights = {f"model.layers.{i}.w": mx.array(planted(2 + i, seed=i)) for i in range(4)}
    first = AlphaDecay(1).multipliers(weights)
    monkeypatch.setattr("mlx_probe.lab.train.alpha_decay.usable_cores", lambda: 1)
    assert json.dumps(AlphaDecay(1).multipliers(dict(reversed(weights.items())))) == json.dumps(
        first
    )


def test_a_run_decays_by_its_own_exponents(tmp_path, tokens):
    """The multipliers of the last measurement are in the optimizer, and moved the weights."""
    weights = {}
    for policy in ("none", "alpha"):
        recipe = recipe_with(
            optimizer="adamw", weight_decay=0.5, weight_decay_policy=policy, policy_every=2,
            steps=4, warmup=1, checkpoint_every=4, evaluate_every=4, sample_every=0,
        )  # fmt: skip
        recipe = replace(recipe, model=replace(recipe.model, dim=64, hidden=96))
        train(recipe, tmp_path / policy, data=[tokens], device="cpu")
        weights[policy] = mx.load(str(tmp_path / policy / "checkpoints/step-4/model.safetensors"))
    saved = mx.load(str(tmp_path / "alpha/checkpoints/step-4/optimizer.safetensors"))
    decays = {name: each.item() for name, each in saved.items() if name.endswith(".decay")}
    mx.eval(weights)
    wanted = AlphaDecay(2).multipliers(weights["alpha"])
    assert max(wanted.values()) == 5
    for name, multiplier in wanted.items():
        (found,) = (decays[key] for key in decays if key.endswith(f".{name}.decay"))
        assert found == pytest.approx(multiplier, rel=1e-6)
    name = max(wanted, key=wanted.get)
    assert not mx.array_equal(weights["alpha"][name], weights["none"][name])


def test_when_it_is_due():
    policy = AlphaDecay(25)
    assert [step for step in range(101) if policy.due(step)] == [25, 50, 75, 100]
