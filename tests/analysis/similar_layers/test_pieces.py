"""Assignment, order and depth alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.analysis.similar_layers.assignment import assigned
from mlx_probe.analysis.similar_layers.origin import _rising


@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
@settings(max_examples=30, deadline=None)
def test_a_permutation_is_found(seed, count):
    rng = np.random.default_rng(seed)
    keys = rng.standard_normal((count, 128)).astype(np.float32)
    order = rng.permutation(count)
    noisy = keys[order] + 0.3 * rng.standard_normal((count, 128)).astype(np.float32)
    found = assigned(keys, noisy)
    assert (np.argsort(order) == found).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
@settings(max_examples=30, deadline=None)
def test_every_line_is_taken_once(seed, count):
    """Also of unrelated lines, where many want the same one."""
    rng = np.random.default_rng(seed)
    one, other = rng.standard_normal((2, count, 3)).astype(np.float32)
    assert sorted(assigned(one, other)) == list(range(count))


@given(st.lists(st.integers(0, 40), max_size=40, unique=True))
def test_the_longest_rise(numbers):
    """Against all lengths by dynamic programming."""
    kept = [numbers[at] for at in sorted(_rising(numbers))]
    assert kept == sorted(kept)
    longest = [1] * len(numbers)
    for i, number in enumerate(numbers):
        longest[i] += max((longest[j] for j in range(i) if numbers[j] < number), default=0)
    assert len(kept) == max(longest, default=0)
