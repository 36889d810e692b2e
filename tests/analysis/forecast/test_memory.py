from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.analysis.forecast.memory import most_at_once

TASKS = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 100)).map(lambda pair: (max(pair), min(pair))),
    min_size=1,
    max_size=12,
)


@given(TASKS, st.integers(1, 4), st.integers(1, 4), st.integers(100, 400))
def test_what_is_in_flight_is_between_the_largest_and_the_budget(tasks, workers, lanes, budget):
    most = most_at_once(tasks, workers, min(lanes, workers), budget)
    assert max(size for size, _ in tasks) <= most <= max(budget, tasks[0][0])
    assert most_at_once(tasks, workers, workers, budget) >= most


def test_only_one_streams_in_one_lane():
    tasks = [(50, 10), (40, 10), (30, 10)]
    assert most_at_once(tasks, 2, 2, 1000) == 90
    assert most_at_once(tasks, 2, 1, 1000) == 60
    assert most_at_once(tasks, 3, 1, 1000) == 70
    # The second does not fit beside the first, and the third with the second.
    assert most_at_once(tasks, 3, 3, 70) == 70
