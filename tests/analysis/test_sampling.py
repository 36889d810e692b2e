"""What a sample measures: strata, seeds, and rows that are those of a full run."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled_models import EXPERTS, LAYERS, model
from tinymodel import comparable

import mlx_probe
from mlx_probe.analysis.block_position import position_of
from mlx_probe.analysis.columns import BASE_COLUMNS
from mlx_probe.analysis.sample import Sample, parse_sample
from mlx_probe.analysis.sampling import unsampled
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.core.errors import ConfigError

EVERY = "layers=every:4|experts=2"
WHY = ("status", "status_reason")
# Base columns that say how a row came about.
OF_THE_RUN = {"created_at", "read_seconds", "compute_seconds", "read_gbps", "host", *WHY}


@pytest.fixture(scope="module", params=["named", "fused"])
def mixture(request, tmp_path_factory):
    """The same kinds of experts, in a tensor each and stacked."""
    folder = tmp_path_factory.mktemp(request.param) / "mixture"
    return model(folder, np.random.default_rng(7), fused=request.param == "fused")


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return model(tmp_path_factory.mktemp("dense") / "model", np.random.default_rng(3), experts=0)


class Named:
    """As much of a weight as a sample looks at."""

    def __init__(self, name):
        self.name, self.role = name, classify(name)
        self.expert_index = self.role.expert_index


def names(layers, experts):
    """Tensors of a mixture with so many experts in each layer."""
    yield "model.embed_tokens.weight"
    for layer, count in zip(layers, experts, strict=True):
        yield f"model.layers.{layer}.self_attn.q_proj.weight"
        yield f"model.layers.{layer}.mlp.gate.weight"
        for expert in range(count):
            for kind in ("gate_proj", "up_proj", "down_proj"):
                yield f"model.layers.{layer}.mlp.experts.{expert}.{kind}.weight"


samples = st.builds(Sample, every=st.integers(0, 5), experts=st.integers(0, 9)) | st.builds(
    Sample, layers=st.integers(0, 5), experts=st.integers(0, 9)
)
shapes = st.lists(st.integers(1, 8), min_size=1, max_size=9)


def left_out(weights, sample, seed):
    try:
        return unsampled(weights, sample, seed)
    except ConfigError as error:
        # Everything is in the sample: a user who asks for that is told.
        if "leaves out none" in error.fact:
            return {}
        raise


@given(shapes, samples, st.integers(0, 3))
def test_each_group_of_a_chosen_layer_has_as_many_experts_as_it_can(experts, sample, seed):
    weights = [Named(name) for name in names(range(len(experts)), experts)]
    gone = left_out(weights, sample, seed)
    assert gone == left_out(weights, sample, seed)
    groups, kept = Counter(), Counter()
    chosen, members = set(), {}
    for i, weight in enumerate(weights):
        _, layer = position_of(weight)
        if weight.expert_index is None:
            if layer is not None and i not in gone:
                chosen.add(layer)
            assert layer is not None or i not in gone
            continue
        key = layer, weight.role.block_type
        groups[key] += 1
        if i not in gone:
            kept[key] += 1
            members.setdefault(layer, {}).setdefault(key, set()).add(weight.expert_index)
    last = len(experts) - 1
    if sample.every:
        assert chosen == {n for n in range(last + 1) if n % sample.every == 0} | {last}
    elif sample.layers:
        assert len(chosen) == min(sample.layers, last + 1)
        assert sample.layers == 1 or {0, last} <= chosen
    else:
        assert chosen == set(range(last + 1))
    for (layer, kind), count in groups.items():
        wanted = min(sample.experts or count, count) if layer in chosen else 0
        assert kept[layer, kind] == wanted
    for by_kind in members.values():
        assert len({frozenset(experts) for experts in by_kind.values()}) == 1


@given(shapes, st.integers(1, 7), st.integers(0, 3))
def test_a_larger_sample_contains_a_smaller_one(experts, count, seed):
    weights = [Named(name) for name in names(range(len(experts)), experts)]
    more = left_out(weights, Sample(experts=count + 1), seed)
    assert more.keys() <= left_out(weights, Sample(experts=count), seed).keys()


def test_another_seed_and_another_layer_choose_other_experts():
    weights = [Named(name) for name in names(range(6), [32] * 6)]

    def kept(seed):
        gone = unsampled(weights, Sample(experts=3), seed)
        rows = [w for i, w in enumerate(weights) if i not in gone and w.expert_index is not None]
        return frozenset((w.role.layer_index, w.expert_index) for w in rows)

    assert len({kept(seed) for seed in range(8)}) == 8
    by_layer = {n: frozenset(e for layer, e in kept(0) if layer == n) for n in range(6)}
    assert len(set(by_layer.values())) > 1


def test_a_kind_of_layer_that_the_rule_misses_is_there_once():
    linear = "model.layers.{}.linear_attn.in_proj_qkvz.weight"
    full = "model.layers.{}.self_attn.q_proj.weight"
    kinds = [full if n % 4 == 3 else linear for n in range(13)]
    weights = [Named(kind.format(n)) for n, kind in enumerate(kinds)]
    gone = unsampled(weights, Sample(every=4), 0)
    assert set(range(13)) - gone.keys() == {0, 3, 4, 8, 12}


def test_encoder_and_decoder_are_sampled_apart():
    weights = [
        Named(f"{stack}.block.{n}.layer.0.SelfAttention.q.weight")
        for stack, count in (("encoder", 6), ("decoder", 9))
        for n in range(count)
    ]
    gone = unsampled(weights, Sample(layers=3), 0)
    kept = [position_of(w) for i, w in enumerate(weights) if i not in gone]
    assert kept == [
        *(("encoder.block", n) for n in (0, 3, 5)),
        *(("decoder.block", n) for n in (0, 4, 8)),
    ]


@given(samples)
def test_a_sample_is_written_in_one_way(sample):
    assert parse_sample(str(sample)) == sample
    assert parse_sample(" | ".join(reversed(str(sample).split("|")))) == sample


@pytest.mark.parametrize(
    "text",
    [
        *("layers", "layers=", "layers=0", "layers=every:0", "layers=-1", "layers=every:-4"),
        *("layers=every", "layer=4", "experts=every:2", "experts=1.5", "layers=4,experts=8"),
        *("|", "layers=4|", "layers=4|layers=every:2", "experts=2|experts=2", "experts=２"),
    ],
)
def test_what_makes_no_sense_is_refused(dense, text, tmp_path):
    with pytest.raises(ConfigError) as refused:
        parse_sample(text)
    assert "--sample 'layers=every:4|experts=8'" in refused.value.remedy
    with pytest.raises(ConfigError):
        mlx_probe.analyze(dense, out=tmp_path, sample=text, backend="numpy")


@pytest.mark.parametrize(
    ("text", "includes", "says", "remedy"),
    [
        ("experts=2", (), "no tensor is an expert's", "without --sample"),
        ("layers=every:2|experts=2", (), "no tensor is an expert's", "--sample layers=every:2"),
        ("layers=2", ("*embed*",), "no tensor is in a layer", "without --sample"),
        ("layers=every:1", (), f"leaves out none of {8 * LAYERS + 3}", "fewer layers"),
        ("layers=99", (), "leaves out none", "fewer layers"),
    ],
)
def test_a_sample_that_chooses_nothing_is_refused(dense, tmp_path, text, includes, says, remedy):
    with pytest.raises(ConfigError, match=says) as refused:
        mlx_probe.analyze(dense, out=tmp_path, sample=text, include=includes, backend="numpy")
    assert remedy in refused.value.remedy
    assert not any(tmp_path.iterdir())


def analyzed(folder, out, backend, sample):
    run = mlx_probe.analyze(
        folder, out=out, backend=backend.name, device="cpu", metrics="full", sample=sample
    )
    assert run.passed
    assert run.unread is None
    return run, run.load()


def test_measured_rows_are_those_of_a_full_run(mixture, tmp_path, backend):
    whole, full = analyzed(mixture, tmp_path / "full", backend, "")
    run, rows = analyzed(mixture, tmp_path / "some", backend, EVERY)
    measured = rows["status"] == "ok"
    same = pd.testing.assert_frame_equal
    same(comparable(rows[measured]), comparable(full[measured]))
    # The others have what the headers say, and no number.
    headers = [column.name for column in BASE_COLUMNS if column.name not in OF_THE_RUN]
    same(rows[~measured][headers], full[~measured][headers])
    numbers = [name for name in rows if name not in headers and name not in ("created_at", *WHY)]
    assert rows[~measured][numbers].isna().all(axis=None)
    assert set(rows[~measured]["status"]) == {"unsampled"}
    assert set(rows[~measured]["status_reason"]) == {
        f"the sample {EVERY} with seed 0 leaves its {what} out" for what in ("layer", "expert")
    }
    assert whole.meta["sample"] is None
    whole_rows = rows[rows["part"].isna()]
    nbytes = whole_rows.groupby("status")["nbytes"].sum()
    assert run.meta["sample"] == {
        "selection": EVERY,
        "seed": 0,
        "rows": {"measured": measured.sum(), "unsampled": (~measured).sum()},
        "bytes": {"measured": nbytes["ok"], "unsampled": nbytes["unsampled"]},
        "stacks": [
            {
                "name": "model.layers",
                "layers": [0, 4, 6],
                "of": LAYERS,
                "experts": {"measured": 2, "of": EXPERTS},
            }
        ],
    }
    assert run.meta["bytes_read"] < whole.meta["bytes_read"] / 2
    assert all(check.passed for check in mlx_probe.validate(run))


def test_side_tables_are_of_what_is_measured(mixture, tmp_path, backend):
    whole, _ = analyzed(mixture, tmp_path / "full", backend, "")
    run, rows = analyzed(mixture, tmp_path / "some", backend, EVERY)
    heads, full_heads = (mlx_probe.load_side_table(each, "heads") for each in (run, whole))
    chosen = full_heads[full_heads["layer_index"].isin([0, 4, 6])]
    pd.testing.assert_frame_equal(heads, chosen.reset_index(drop=True))
    experts, full_experts = (mlx_probe.load_side_table(each, "experts") for each in (run, whole))
    key = ["param_name", "expert_index", "block_type"]
    known = rows[(rows["status"] == "ok") & rows["expert_index"].notna()]
    assert set(map(tuple, experts[key].to_numpy())) <= set(map(tuple, known[key].to_numpy()))
    assert len(experts) == 2 * 3 * 2  # layers 4 and 6, kinds, experts
    # An expert's own numbers, and those of its router, do not depend on the others.
    own = [*key, "norm", "router_norm"]
    both = experts[own].merge(full_experts[own], on=key, suffixes=("", "_full"))
    assert len(both) == len(experts)
    for column in ("norm", "router_norm"):
        assert both[column].notna().all()
        np.testing.assert_allclose(both[column], both[f"{column}_full"], rtol=1e-12)
    for _, expert in experts.iterrows():
        assert expert["nearest_expert"] != expert["expert_index"]
        same_layer = experts[experts["layer_index"] == expert["layer_index"]]
        assert expert["nearest_expert"] in set(same_layer["expert_index"])
