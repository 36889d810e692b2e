"""Merges of models that were really trained, by independent code: weights, kind, and refusals."""

import itertools

import merged_models as made
import numpy as np
import pytest
from weightfiles import write_gguf

from mlx_probe.analysis.lineage import read_fingerprint
from mlx_probe.analysis.lineage.merge_weights import merge_weights
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.core.errors import ConfigError

LAST = made.SHAPE["layers"] - 1


@pytest.fixture(scope="module")
def prints(tmp_path_factory):
    """A function that reads a model's arrays, or one of the family by its name."""
    folder, known, numbers = tmp_path_factory.mktemp("merges"), {}, itertools.count()

    def read(model, dtype="BF16"):
        if isinstance(model, str):
            if (model, dtype) not in known:
                known[model, dtype] = read(made.family(dtype)[model], dtype)
            return known[model, dtype]
        with open_checkpoint(made.write(folder / f"m{next(numbers)}", model, dtype)) as checkpoint:
            return read_fingerprint(checkpoint)

    return read


def judged(prints, child, parents, dtype="BF16", base=None):
    return merge_weights(
        prints(child, dtype),
        [prints(name, dtype) for name in parents],
        None if base is None else prints(base, dtype),
    )


def models(names, dtype):
    return [made.family(dtype)[name] for name in names]


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("names", ["ab", "xy"])
@pytest.mark.parametrize("weight", [0.5, 0.3, 0.9])
def test_weights_of_two(prints, names, weight, dtype):
    parents = models(names, dtype)
    line = judged(prints, made.weighted(parents, [weight, 1 - weight], dtype), names, dtype)
    bend = judged(prints, made.arc(*parents, 1 - weight, dtype), names, dtype)
    for merge, method in ((line, "linear"), (bend, "slerp")):
        # Two tunes of one base are so near each other that both may be one in 16 bits.
        assert merge.method in ((method, "linear or slerp") if names == "ab" else (method,))
        assert merge.uniform == "all"
        assert merge.probability > 0.95
        for part, true in zip(merge.parts, (weight, 1 - weight), strict=True):
            assert abs(part.weight - true) < 0.002
            assert abs(part.weight - true) < 4 * part.error + 1e-6
            assert 0 < part.error < 0.001
    assert line.total == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("names", ["abc", "xyz"])
def test_weights_of_three(prints, names):
    true = (0.5, 0.3, 0.2)
    merge = judged(prints, made.weighted(models(names, "BF16"), true), names)
    assert (merge.method, merge.uniform) == ("linear", "all")
    assert [part.weight for part in merge.parts] == pytest.approx(true, abs=0.002)


def test_the_sum_of_the_weights_is_free(prints):
    merge = judged(prints, made.weighted(models("xy", "BF16"), (0.6, 0.6)), "xy")
    assert merge.method == "linear"
    assert [part.weight for part in merge.parts] == pytest.approx((0.6, 0.6), abs=1e-3)
    assert merge.total == pytest.approx(1.2, abs=1e-3)
    assert any("not to 1" in each for each in merge.why)


@pytest.mark.parametrize("names", ["ab", "xy"])
@pytest.mark.parametrize("kind", ["slerp", "linear"])
def test_a_gradient_over_the_layers(prints, names, kind):
    def share(name):
        return (made.layer_of(name) or 0) / LAST

    parents = models(names, "BF16")
    if kind == "slerp":
        child = made.arc(*parents, share)
    else:
        child = made.weighted(parents, (lambda name: 1 - share(name), share))
    merge = judged(prints, child, names)
    assert (merge.method, merge.uniform, merge.parts) == (kind, "layer", ())
    for group in merge.groups:
        true = (group.layer or 0) / LAST
        # Norms have few elements.
        tolerance = 0.03 if group.component == "norm" else 0.005
        assert group.parts[1].weight == pytest.approx(true, abs=tolerance), group


def test_a_weight_for_each_component(prints):
    def share(name):
        return 0.3 if "self_attn" in name else 0.7

    merge = judged(prints, made.arc(*models("xy", "BF16"), share), "xy")
    assert (merge.method, merge.uniform) == ("slerp", "component")
    found = {group.component: group.parts[1].weight for group in merge.groups}
    assert found["attention"] == pytest.approx(0.3, abs=0.002)
    assert found["mlp"] == pytest.approx(0.7, abs=0.002)


def test_changes_below_a_unit_of_the_last_place(prints):
    """Tunes that bfloat16 hardly holds: least squares alone would say 1 and 0."""
    base, rng = made.family()["base"], np.random.default_rng(0)
    tunes = [
        made.stored(
            {n: v + 1e-3 * v.std() * rng.standard_normal(v.shape) for n, v in base.items()}, "BF16"
        )
        for _ in range(2)
    ]
    child = prints(made.weighted(tunes, (0.9, 0.1)))
    merge = merge_weights(child, [prints(tune) for tune in tunes])
    assert merge.method == "linear or slerp"
    assert [part.weight for part in merge.parts] == pytest.approx((0.9, 0.1), abs=0.005)
    pooled = sum(np.vdot(child.sampled[i].values - tunes[0][n], tunes[1][n] - tunes[0][n])
                 for i, n in enumerate(tunes[0]))  # fmt: skip
    size = sum(np.square(tunes[1][n] - tunes[0][n]).sum() for n in tunes[0])
    assert abs(pooled / size - 0.1) > 0.02


def test_task_arithmetic_needs_the_base(prints):
    child = made.weighted(models(["a", "b", "base"], "BF16"), (0.8, 0.5, -0.3))
    with_base = judged(prints, child, "ab", base="base")
    assert (with_base.method, with_base.uniform) == ("task arithmetic", "all")
    assert [part.weight for part in with_base.parts] == pytest.approx((0.8, 0.5, -0.3), abs=0.002)
    assert not judged(prints, child, "ab").is_merge
    # A base that is not needed is not used.
    plain = judged(prints, made.weighted(models("ab", "BF16"), (0.5, 0.5)), "ab", base="base")
    assert (plain.method[:6], len(plain.parts)) == ("linear", 2)


def test_copies_of_tensors(prints):
    a, b = models("xy", "BF16")
    mixed = {name: (a if (made.layer_of(name) or 0) < 1 else b)[name] for name in a}
    merge = judged(prints, mixed, "xy")
    assert (merge.method, merge.uniform) == ("passthrough", "layer")
    copy = judged(prints, {**a}, "xy")
    assert (copy.method, copy.is_merge) == ("copy", False)
    assert copy.probability < 0.05


@pytest.mark.parametrize(
    ("child", "parents"),
    [("c", "ab"), ("base", "ab"), ("x", "ab"), ("z", "xy"), ("a", "xy"), ("x", "ya")],
)
@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_what_is_no_merge(prints, child, parents, dtype):
    merge = judged(prints, child, parents, dtype)
    assert merge.method == "none"
    assert merge.probability <= 0.05
    assert not merge.parts
    assert merge.residual > 3
    assert merge.fitting < 0.1


def test_a_sibling_is_no_merge_of_tunes_of_its_base(prints):
    assert judged(prints, "c", "ab", base="base").method == "none"


@pytest.mark.parametrize("names", ["abc", "xyz"])
def test_a_parent_that_is_missing(prints, names):
    child = made.weighted(models(names, "BF16"), (0.4, 0.3, 0.3))
    merge = judged(prints, child, names[:2])
    assert (merge.method, merge.is_merge, merge.parts) == ("unknown", False, ())
    assert merge.explained == pytest.approx(0.75, abs=0.1)


@pytest.mark.parametrize("kind", ["ties", "dare"])
@pytest.mark.parametrize("base", [None, "base"])
def test_sparse_merges_are_not_taken_for_sums(prints, kind, base):
    origin, *parents = models(["base", "a", "b"], "F32")
    if kind == "ties":
        child = made.ties(origin, parents, 0.5, "F32")
    else:
        child = made.sparse_merge(origin, parents, 0.5, np.random.default_rng(0), "F32")
    merge = judged(prints, child, "ab", "F32", base)
    assert (merge.method, merge.is_merge) == ("unknown", False)
    assert merge.residual > 1e4
    assert 0.5 < merge.probability <= 0.9


def test_a_packed_merge(prints, tmp_path):
    """In 8-bit blocks of GGUF: the noise is that of its steps."""
    a, b = models("xy", "F32")
    merged = made.weighted([a, b], (0.3, 0.7), "F32")
    tensors = {}
    for name, values in merged.items():
        gguf = (
            name.replace("model.layers.", "blk.")
            .replace("self_attn.q_proj", "attn_q")
            .replace("mlp.up_proj", "ffn_up")
            .replace("mlp.down_proj", "ffn_down")
        )
        if (
            gguf.startswith("blk.")
            and gguf != name
            and values.ndim == 2
            and "layernorm" not in name
        ):
            if gguf.count("_proj"):
                continue
            blocks = values.reshape(-1, 32)
            scale = (np.abs(blocks).max(1) / 127).astype(np.float16)
            codes = np.rint(blocks / scale.astype(np.float32)[:, None]).astype(np.int8)
            packed = np.concatenate([scale[:, None].view(np.uint8), codes.view(np.uint8)], axis=1)
            shape = (values.shape[0], values.shape[1] // 32 * 34)
            if values.shape[1] % 32 == 0:
                tensors[gguf] = (packed.reshape(shape), "Q8_0")
    assert len(tensors) >= 3
    path = write_gguf(tmp_path / "merged.gguf", tensors, architecture="qwen2")
    with open_checkpoint(path) as checkpoint:
        child = read_fingerprint(checkpoint)
    merge = merge_weights(child, [prints("x", "F32"), prints("y", "F32")])
    assert merge.method == "linear"
    assert [part.weight for part in merge.parts] == pytest.approx((0.3, 0.7), abs=0.005)


def test_what_cannot_be_asked(prints):
    with pytest.raises(ConfigError, match="at least two parents"):
        judged(prints, "a", "b")
    with pytest.raises(ConfigError, match="named twice"):
        judged(prints, "a", "bb")


def test_parents_that_are_equal_say_nothing(prints):
    base = made.family()["base"]
    merge = merge_weights(prints(dict(base)), [prints(dict(base)), prints(dict(base))])
    assert (merge.method, merge.probability, merge.parts) == ("undetermined", 0.0, ())


def test_the_document(prints):
    document = judged(prints, made.weighted(models("xy", "BF16"), (0.5, 0.5)), "xy").as_json()
    assert document["method"] == "linear"
    assert {"weight", "error", "model"} == document["parts"][0].keys()
    assert len(document["groups"]) >= 2 * made.SHAPE["layers"]
