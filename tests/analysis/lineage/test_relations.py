"""Relations of models that are known, by name, with their directions."""

from dataclasses import replace

import lineage_models as models
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_models import fingerprint, packed, written

from mlx_probe.analysis.lineage import LineageConfig, relate
from mlx_probe.core.errors import ConfigError

# By name: what becomes of a base, the relation, and which one is the parent.
MADE = {
    "copy": (dict, "same", None),
    "units": (models.permuted, "same", None),
    "channels": (models.moved_channels, "same", None),
    "rescaled": (models.rescaled, "same", None),
    "rotated": (models.rotated, "finetune", None),
    "tuned": (models.tuned, "finetune", None),
    "tuned-units": (lambda x: models.permuted(models.tuned(x)), "finetune", None),
    "tokens": (models.more_tokens, "finetune", None),
    "lora": (models.lora, "lora", None),
    "lora-all": (lambda x: models.lora(x, 8, keys=("_proj",)), "lora", None),
    "pruned": (models.pruned, "pruning", "a"),
    "pruned-much": (lambda x: models.pruned(x, 0.8), "pruning", "a"),
    "fewer-units": (models.fewer_units, "pruning", "a"),
    "fewer-layers": (lambda x: models.relayered(x, (0, 2)), "pruning", "a"),
    "more-layers": (lambda x: models.relayered(x, (0, 1, 1, 2)), "merge", "a"),
}
BITS = (3, 4, 8)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Fingerprints of three bases of one shape, and of what becomes of each, by seed and name."""
    root, prints = tmp_path_factory.mktemp("known"), {}
    for seed in range(3):
        arrays = models.base(seed)
        prints[seed, "base"] = fingerprint(written(root / f"{seed}-base", arrays))
        for name, (change, _, _) in MADE.items():
            prints[seed, name] = fingerprint(written(root / f"{seed}-{name}", change(arrays)))
        for bits in BITS:
            folder = packed(root / f"{seed}-{bits}bit", arrays, bits)
            prints[seed, f"{bits}bit"] = fingerprint(folder)
        for dtype in ("BF16", "F8_E4M3"):
            prints[seed, dtype] = fingerprint(written(root / f"{seed}-{dtype}", arrays, dtype))
    return prints


QUANTIZED = [*(f"{bits}bit" for bits in BITS), "BF16", "F8_E4M3"]


@pytest.mark.parametrize("name", [*MADE, *QUANTIZED])
def test_a_relation_is_named(known, name):
    _, wanted, parent = MADE.get(name, (None, "quantization", "a"))
    for seed in range(3):
        relation = relate(known[seed, "base"], known[seed, name])
        assert (relation.relation, relation.parent) == (wanted, parent), relation.evidence
        assert 0.5 < relation.related <= 1
        assert relation.probability <= relation.related


@pytest.mark.parametrize("name", [*MADE, *QUANTIZED])
def test_the_reverse_says_the_same(known, name):
    """Only the direction turns."""
    there = relate(known[0, "base"], known[0, name])
    back = relate(known[0, name], known[0, "base"])
    turned = {"a": "b", "b": "a", None: None}
    assert back.relation == there.relation
    assert back.parent == turned[there.parent]
    assert back.probability == pytest.approx(there.probability, rel=1e-6)
    assert back.related == pytest.approx(there.related, rel=1e-6)


def test_no_unrelated_pair_is_called_related(known):
    """Though the models have one shape, and the leading directions of their tokens are the same."""
    names = ["base", *MADE, *QUANTIZED]
    pairs = [((i, x), (j, y)) for i, j in ((0, 1), (1, 2)) for x in names[::7] for y in names[::2]]
    relations = [relate(known[a], known[b]) for a, b in pairs]
    assert {relation.relation for relation in relations} == {"unrelated"}
    related = [relate(known[0, "base"], known[0, name]) for name in names[1:]]
    low = min(relation.numbers["similarity"] for relation in related)
    assert low > 3 * max(relation.numbers["similarity"] for relation in relations)


def test_two_quantizations_of_one_model(known):
    """Neither is the other's parent, though one has fewer bits."""
    for one, two in (("3bit", "8bit"), ("8bit", "F8_E4M3"), ("4bit", "F8_E4M3")):
        relation = relate(known[0, one], known[0, two])
        assert (relation.relation, relation.parent) == ("quantization", None)


def test_what_has_moved_is_said(known):
    said = {
        "units": "permutation of the hidden units",
        "channels": "permutation of the residual channels",
        "rotated": "rotation of the residual channels",
        "rescaled": "factors of channels",
    }
    for name, words in said.items():
        assert words in relate(known[0, "base"], known[0, name]).note


def test_certainty_needs_every_byte(tmp_path):
    """A sample of equal values is not proof: what was not read may differ."""
    one = written(tmp_path / "one", models.base())
    assert relate(fingerprint(one), fingerprint(one)).probability == 1.0
    small = LineageConfig(elements=1024, deep_rows=16)
    relation = relate(fingerprint(one, small), fingerprint(one, small))
    assert relation.relation == "same"
    assert 0.5 < relation.probability < 1


def test_unlike_samples_are_refused(tmp_path):
    one = written(tmp_path / "one", models.base())
    with pytest.raises(ConfigError, match="different settings"):
        relate(fingerprint(one), fingerprint(one, LineageConfig(seed=1)))


def test_the_card_says_which_one_is_the_base(tmp_path):
    one = fingerprint(written(tmp_path / "base", models.base()))
    folder = written(tmp_path / "tuned", models.tuned(models.base()))
    (folder / "README.md").write_text("---\nbase_model: Owner/Base\n---\n# A tune\n")
    one = replace(one, model="owner/base")
    assert relate(one, fingerprint(folder)).parent == "a"
    assert relate(fingerprint(folder), one).parent == "b"
    (folder / "mergekit_config.yml").write_text("merge_method: slerp\n")
    assert relate(one, fingerprint(folder)).relation == "merge"


@settings(max_examples=8)
@given(seed=st.integers(0, 1000), size=st.floats(0.002, 0.3))
def test_how_values_are_stored_does_not_count(tmp_path_factory, seed, size):
    """float32 files with values of bfloat16 are the same model as bfloat16 files."""
    root = tmp_path_factory.mktemp("stored")
    half = written(root / "half", models.tuned(models.base(layers=1), seed, size), "BF16")
    values = {s.named.name: s.values.reshape(s.shape) for s in fingerprint(half).sampled}
    wide = written(root / "wide", values)
    relation = relate(fingerprint(half), fingerprint(wide))
    assert (relation.relation, relation.probability) == ("same", 1.0)


def test_a_model_without_anything_in_common(tmp_path):
    one = fingerprint(written(tmp_path / "one", models.base()))
    rng = np.random.default_rng(0)
    other = written(tmp_path / "other", {"conv.weight": rng.standard_normal((8, 4, 3, 3))})
    relation = relate(one, fingerprint(other))
    assert relation.relation == "unrelated"
    assert relation.as_json()["evidence"][0]["value"] is None
