"""Which snapshot is measured next."""

from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.lab.train.watch.order import next_to_measure

STEPS = st.sets(st.integers(0, 10**6), min_size=1, max_size=12)


def test_the_newest_first_then_the_widest_gap():
    steps, measured = {0, 1, 10, 100, 1000}, set()
    order = []
    while unmeasured := steps - measured:
        order.append(next_to_measure(unmeasured, measured))
        measured.add(order[-1])
    # After both ends, 10 is near the middle of the axis: log 1001 is 6.9, log 11 is 2.4.
    assert order == [1000, 0, 10, 100, 1]


@given(STEPS, STEPS)
def test_what_is_newer_than_all_measured_comes_first(unmeasured, measured):
    step = next_to_measure(unmeasured, measured)
    assert step in unmeasured
    if max(unmeasured) > max(measured):
        assert step == max(unmeasured)


@given(STEPS, STEPS)
def test_otherwise_no_other_is_farther_from_its_neighbours(unmeasured, measured):
    top = max(measured) + max(unmeasured)
    chosen = next_to_measure(unmeasured, measured | {top})

    def gap(step):
        ratios = [(max(step, m) + 1) / (min(step, m) + 1) for m in measured | {top}]
        return min(ratios)

    assert all(gap(step) <= gap(chosen) * (1 + 1e-12) for step in unmeasured)
