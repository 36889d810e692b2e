"""Planted copies, mixtures and orders are found, each with its original, and nothing else."""

import numpy as np
import pytest
from planted_layers import planted_layers as plant

from mlx_probe.analysis.similar_layers import SimilarConfig, similar_layers

LAYERS = 16
GROUPS = {"llama": 2, "mixture": 2, "gpt2": 8}


def found(result, kind):
    """Layer to original, of the findings of one kind."""
    return {
        layer: of
        for each in result.findings
        if each.kind == kind
        for layer, of in zip(each.layers, each.evidence["of"], strict=True)
    }


@pytest.fixture(scope="module", params=GROUPS)
def planted(request, tmp_path_factory):
    family, rng = request.param, np.random.default_rng(5)
    arrays, config = plant.made(family, LAYERS, 1)
    clean = plant.written(tmp_path_factory.mktemp("layers") / "clean", arrays, config)
    changed = dict(arrays)
    plant.copied(changed, 1, 2)
    plant.copied(changed, 3, 8)
    plant.noised(changed, 8, 0.5, rng)
    plant.copied(changed, 4, 9)
    plant.quantized(changed, 9, 4)
    plant.averaged(changed, 10, 5, 6, 0.5)
    plant.averaged(changed, 11, 6, 7, 0.8)
    plant.copied(changed, 3, 12)
    plant.units_shuffled(changed, 12, rng)
    plant.copied(changed, 4, 13)
    plant.heads_shuffled(changed, 13, rng, groups=GROUPS[family])
    plant.units_shuffled(changed, 13, rng)
    plant.noised(changed, 13, 0.3, rng)
    return clean, plant.written(clean.with_name("planted"), changed, config)


def test_plants_are_found_and_nothing_else(planted):
    result = similar_layers(planted[1])
    assert found(result, "exact_copy") == {2: 1}
    assert found(result, "near_copy") == {8: 3, 9: 4}
    assert found(result, "permuted_copy") == {12: 3, 13: 4}
    assert found(result, "average") == {10: [5, 6], 11: [6, 7]}
    assert {each.kind for each in result.findings if each.certain} == {
        *("exact_copy", "near_copy", "permuted_copy", "average"),
    }


def test_a_model_without_plants_has_no_finding(planted):
    result = similar_layers(planted[0])
    assert result.findings == []
    one, other, cosine = result.nearest()
    assert one != other
    assert cosine < 0.1
    assert not result.unread
    assert not result.unordered


def test_numbers_are_those_of_their_definitions(planted):
    """Cosine, distance and weights, computed here in float64 from the file."""
    from safetensors.numpy import load_file

    arrays = load_file(planted[1] / "model.safetensors")
    result = similar_layers(planted[1])
    by_kind = {layer: each for each in result.findings for layer in each.layers}
    attention = by_kind[8].evidence["matrices"][0]["attention"]
    names = {"llama": "self_attn.o_proj", "gpt2": "attn.c_proj"}
    name = names["gpt2" if "h.0.ln_1.weight" in arrays else "llama"]
    stack = "h" if "h.0.ln_1.weight" in arrays else "model.layers"
    a, b = (arrays[f"{stack}.{layer}.{name}.weight"].astype(float) for layer in (8, 3))
    cosine = np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
    assert attention["cosine"]["o_proj"] == pytest.approx(cosine, abs=1e-9)
    distance = np.linalg.norm(a - b) / np.linalg.norm(a)
    assert attention["distance"]["o_proj"] == pytest.approx(distance, abs=1e-7)
    assert by_kind[11].evidence["shares"] == pytest.approx([0.8], abs=1e-5)
    # What chose the order is not what is measured.
    held = by_kind[13].evidence["held_out_cosine"]
    assert held == pytest.approx(1 / np.sqrt(1.09), abs=0.05)


def test_the_same_call_gives_the_same_numbers(planted):
    first, second = (similar_layers(planted[1]).as_json() for _ in range(2))
    first.pop("seconds"), second.pop("seconds")
    assert first == second


def test_where_layers_come_from(planted):
    clean = planted[0]
    from safetensors.numpy import load_file

    arrays = load_file(clean / "model.safetensors")
    config = {} if not (clean / "config.json").exists() else _config(clean)
    order = list(range(LAYERS))
    order[4], order[11] = 11, 4
    shuffled = plant.restacked([arrays], [(0, layer) for layer in order])
    result = similar_layers(plant.written(clean.with_name("moved"), shuffled, config), [clean])
    assert found(result, "origin") == dict(enumerate(order))
    (moved,) = (each for each in result.findings if each.kind == "moved")
    assert moved.layers == (4, 11)

    layers = [*range(10), *range(6, 14)]
    deeper = plant.restacked([arrays], [(0, layer) for layer in layers])
    result = similar_layers(plant.written(clean.with_name("deeper"), deeper, config), [clean])
    assert found(result, "origin") == dict(enumerate(layers))
    kinds = {each.kind: each.layers for each in result.findings}
    assert kinds["repeated"] == (10, 11, 12, 13)
    assert kinds["absent"] == (14, 15)
    assert kinds["exact_copy"] == (10, 11, 12, 13)


def _config(folder):
    import json

    return json.loads((folder / "config.json").read_text("utf-8"))


def test_two_models_mixed(tmp_path):
    (one, config), (other, _) = (plant.made("llama", 6, seed) for seed in (1, 2))
    mixed = {name: (0.3 * one[name] + 0.7 * other[name]).astype(np.float32) for name in one}
    folders = [
        plant.written(tmp_path / name, arrays, config)
        for name, arrays in (("one", one), ("other", other), ("mixed", mixed))
    ]
    (finding,) = similar_layers(folders[2], folders[:2]).findings
    assert finding.kind == "average"
    assert finding.layers == tuple(range(6))
    assert finding.evidence["shares"] == pytest.approx([0.3] * 6, abs=1e-5)
    assert finding.evidence["of"] == [[layer, layer] for layer in range(6)]


def test_a_stack_of_equal_layers_has_a_null(tmp_path):
    """The null does not come from other pairs of layers, which here are all copies."""
    arrays, config = plant.made("llama", 8, 3)
    for layer in range(1, 8):
        plant.copied(arrays, 0, layer)
    result = similar_layers(plant.written(tmp_path / "equal", arrays, config))
    assert found(result, "exact_copy") == dict.fromkeys(range(1, 8), 0)
    assert result.names.chance < 0.5


def test_one_part_alone(tmp_path):
    arrays, config = plant.made("llama", 8, 4)
    for kind in ("gate_proj", "up_proj", "down_proj"):
        name = "model.layers.{}.mlp." + f"{kind}.weight"
        arrays[name.format(5)] = arrays[name.format(2)].copy()
    (finding,) = similar_layers(plant.written(tmp_path / "part", arrays, config)).findings
    assert finding.evidence["parts"] == ["mlp"]
    assert finding.sentence.english == "Of layer 5, mlp holds the same matrices as layer 2."


def test_what_cannot_be_compared_has_its_reason(tmp_path):
    arrays, config = plant.made("llama", 4, 5)
    arrays["model.layers.2.self_attn.q_proj.weight"][0, 0] = np.nan
    result = similar_layers(plant.written(tmp_path / "nan", arrays, config))
    (unread,) = result.unread
    assert (unread.place.layer, unread.name) == (2, "attention")
    assert "not all of it is finite" in unread.reason


def test_directions_of_both_sides(tmp_path):
    """Overlaps and distances of spectra against LAPACK."""
    arrays, config = plant.made("llama", 3, 6)
    folder = plant.written(tmp_path / "directions", arrays, config)
    config = SimilarConfig(directions=4)
    row = next(
        row for row in similar_layers(folder, config=config).rows() if row["role"] == "up_proj"
    )
    one, other = (
        np.linalg.svd(arrays[f"model.layers.{row[key]}.mlp.up_proj.weight"].astype(float))
        for key in ("layer", "other_layer")
    )
    left = np.square(one[0][:, :4].T @ other[0][:, :4]).sum() / 4
    right = np.square(one[2][:4] @ other[2][:4].T).sum() / 4
    assert row["left_overlap"] == pytest.approx(left, abs=0.02)
    assert row["right_overlap"] == pytest.approx(right, abs=0.02)
    distance = np.linalg.norm(one[1][:4] - other[1][:4]) / np.linalg.norm(one[1][:4])
    assert row["spectrum_distance"] == pytest.approx(distance, abs=0.01)
