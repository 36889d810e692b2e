"""A matching that no row and column would both rather leave."""

import numpy as np

from mlx_probe.compute.matching import stable_matching


def test_a_matching_is_stable(rng):
    scores = rng.standard_normal((12, 12))
    partner = stable_matching(scores)
    assert sorted(partner) == list(range(12))
    of_column = np.argsort(partner)
    for row in range(12):
        for column in range(12):
            rather = scores[row, column] > scores[row, partner[row]]
            assert not (rather and scores[row, column] > scores[of_column[column], column])


def test_a_column_may_have_several_rows():
    cosines = np.random.default_rng(0).standard_normal((40, 5)).astype("f4")
    held = stable_matching(cosines, 8)
    assert np.bincount(held).tolist() == [8] * 5
    own = cosines[np.arange(40), held]
    least = np.array([own[held == cluster].min() for cluster in range(5)])
    for point in range(40):
        better = cosines[point] > own[point]
        # A cluster that it would rather have prefers each of its members.
        assert (least[better] > cosines[point][better]).all()
