"""Which units go together, and clusters of equal size."""

import numpy as np
import pytest

from mlx_probe.lab.moe.graft.balanced_clusters import balanced_clusters
from mlx_probe.lab.moe.graft.splits import SPLITS, Block


def planted(groups, size, width, noise, seed=0):
    """Points around a few directions, in a random order, and the group of each."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((groups, width))
    labels = rng.permutation(np.repeat(np.arange(groups), size))
    points = centers[labels] + noise * rng.standard_normal((groups * size, width))
    return (points * rng.uniform(0.5, 2, (len(points), 1))).astype("f4"), labels


def block(features, experts, seed=0):
    unused = lambda: pytest.fail("it looks at what it does not need")  # noqa: E731
    made = {"gate": unused, "activations": unused} | features
    hidden = next(len(make()) for make in features.values()) if features else 24
    return Block(hidden, experts, (seed, 3), **made)


def is_partition(units, experts, hidden):
    assert units.shape == (experts, hidden // experts)
    assert np.array_equal(np.sort(units, axis=None), np.arange(hidden))
    assert (np.diff(units, axis=1) > 0).all()


@pytest.mark.parametrize(("split", "kind"), [("cluster", "gate"), ("activation", "activations")])
@pytest.mark.parametrize("seed", range(5))
def test_planted_groups_are_found(split, kind, seed):
    points, labels = planted(4, 12, 30, 0.3, seed)
    units = SPLITS[split](block({kind: lambda: points}, 4, seed))
    is_partition(units, 4, 48)
    assert all(len(set(labels[each])) == 1 for each in units)
    assert np.array_equal(units, SPLITS[split](block({kind: lambda: points}, 4, seed)))


def test_contiguous_and_random():
    assert np.array_equal(SPLITS["contiguous"](block({}, 4)), np.arange(24).reshape(4, 6))
    first, same, other = (SPLITS["random"](block({}, 4, seed)) for seed in (0, 0, 1))
    for units in (first, other):
        is_partition(units, 4, 24)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", range(3))
def test_clusters_have_one_size(seed):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((60, 5)).astype("f4")
    points[7] = 0
    labels = balanced_clusters(points, 6, rng)
    assert np.bincount(labels).tolist() == [10] * 6
