"""The numbers behind a relation, against dense float64 and what is known beforehand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.analysis.lineage.calibration import load_calibration
from mlx_probe.analysis.lineage.elements import centred, correlation
from mlx_probe.analysis.lineage.hidden import gram_agreement, match_columns, without_common
from mlx_probe.analysis.lineage.storage import rounded

SEEDS = st.integers(0, 10_000)


@given(SEEDS)
def test_correlation_is_that_of_numpy(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, 12, 20), np.float32)
    y += x
    dense = [z.astype(np.float64) for z in (x, y)]
    dense = [z - z.mean(1, keepdims=True) for z in dense]
    dense = [z - z.mean(0, keepdims=True) for z in dense]
    wanted = np.corrcoef(dense[0].ravel(), dense[1].ravel())[0, 1]
    assert correlation(centred(x), centred(y)) == pytest.approx(wanted, abs=1e-5)


@given(SEEDS, st.booleans())
def test_a_permutation_of_columns_is_found(seed, scaled):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((40, 90), np.float32)
    order = rng.permutation(90)
    y = x[:, order] * (rng.uniform(0.5, 2, 90) if scaled else 1)
    # A row's mean is over its columns: scaled columns have another one.
    match = match_columns(x, y.astype(np.float32))
    assert match.cosine > (0.98 if scaled else 1 - 1e-5)
    assert match.null < 0.7
    assert match.moved == pytest.approx((order != np.arange(90)).mean())


@given(SEEDS)
def test_independent_columns_match_by_chance_alone(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, 40, 90), np.float32)
    assert match_columns(x, y).excess < 0.15


@given(SEEDS)
def test_a_rotation_leaves_the_geometry_of_tokens(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, 80, 30), np.float32)
    rotation = np.linalg.qr(rng.standard_normal((30, 30)))[0].astype(np.float32)
    assert gram_agreement(x, x @ rotation) > 1 - 1e-5
    assert gram_agreement(x, y) < 0.6


def test_what_a_language_shares_is_taken_out():
    rng = np.random.default_rng(0)
    common = 5 * rng.standard_normal((128, 4))
    x, y = (
        common @ rng.standard_normal((4, 32)) + rng.standard_normal((128, 32)) for _ in range(2)
    )
    assert match_columns(x.astype("f4"), y.astype("f4")).cosine > 0.7
    own = without_common(x.astype("f4"), y.astype("f4"))
    assert match_columns(*own).excess < 0.1


@given(SEEDS, st.sampled_from(["BF16", "F16"]))
def test_rounding_is_that_of_the_formats(seed, form):
    import mlx.core as mx

    x = np.random.default_rng(seed).standard_normal((4, 64), np.float32) * 0.05
    kind = mx.bfloat16 if form == "BF16" else mx.float16
    assert np.array_equal(rounded(x, form), np.array(mx.array(x).astype(kind).astype(mx.float32)))


def test_probabilities_stay_within_what_the_pairs_can_show():
    known = load_calibration()
    sizes = np.linspace(0, 1, 101)
    said = [known.probability_related(size) for size in sizes]
    assert (np.diff(said) >= 0).all()
    assert 0 < said[0] <= 1 / (known.unrelated + 1)
    assert 1 - 1 / (known.related + 1) <= said[-1] < 1
    assert known.probability_of("a rule without pairs") == 0.5
    assert all(0 <= right <= named for named, right in known.rules.values())
