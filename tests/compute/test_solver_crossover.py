import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.compute import solver_crossover as module
from mlx_probe.compute.solver_crossover import EigenSolvers, SolverTimes, crossover


def races(ratios):
    return [SolverTimes(side, 1.0, ratio) for side, ratio in ratios.items()]


@pytest.mark.parametrize(
    ("ratios", "low", "high"),
    [
        ({1024: 1.2, 2048: 1.05, 4096: 0.76}, 2200, 2600),
        ({1024: 1.2, 2048: 1.05}, 2600, 2700),
        ({1024: 1.3, 1792: 1.05, 2304: 0.81}, 1850, 1900),
        ({1024: 0.9}, 1024, 1024),
        ({1024: 1.0, 2048: 0.9}, 1024, 1024),
        ({1024: 1.1, 2048: 1.0}, 2048, 2048),
        # Noise: the ratio seems to rise at last, and what is before it counts.
        ({1024: 1.3, 1792: 1.1, 2304: 1.11}, 3900, 3970),
    ],
    ids=str,
)
def test_crossover(ratios, low, high):
    assert low <= crossover(races(ratios)) <= high


@pytest.mark.parametrize(
    "ratios",
    [{}, {1024: 1.2}, {1024: 1.2, 2048: 1.2}, {1024: 1.2, 2048: 1.3}, {1024: 2.0, 2048: 1.9}],
    ids=str,
)
def test_no_crossover(ratios):
    assert crossover(races(ratios)) is None


@given(
    st.lists(st.integers(256, 8192), min_size=2, max_size=5, unique=True),
    st.floats(0.05, 2.0),
    st.floats(300, 20_000),
    st.floats(1e-3, 1e3),
)
def test_a_power_law_is_continued(sides, exponent, crossing, unit):
    sides.sort()
    times = [SolverTimes(n, unit * n, unit * n * (n / crossing) ** -exponent) for n in sides]
    result = crossover(times)
    if crossing < sides[0] * (1 - 1e-9):
        assert result == sides[0]
    elif crossing > module.REACH * sides[-1] * (1 + 1e-9):
        assert result is None
    elif crossing > sides[0] * (1 + 1e-9) and crossing < module.REACH * sides[-1] * (1 - 1e-3):
        assert result == pytest.approx(crossing, rel=1e-6, abs=0.51)


class Clock:
    """Advanced by solvers alone, which count how many matrices they are given."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.solved = 0.0, []
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)

        def solve(matrix, solver):
            self.solved.append(len(matrix))
            self.now += seconds(len(matrix), solver == "two_stage")

        monkeypatch.setattr(module.lapack, "eigenvalues", solve)
        monkeypatch.setattr(module, "SIDES", (10, 20, 30, 40))
        monkeypatch.setattr(module.eigen, "is_available", lambda size: False)


def test_the_race_ends_when_the_two_stage_solver_wins(monkeypatch):
    Clock(monkeypatch, lambda n, two_stage: 0.025 if two_stage else 0.001 * n)
    times = module.race(cores=1)
    assert [t.side for t in times] == [10, 20, 30]
    assert [t.one_stage for t in times] == pytest.approx([0.01, 0.02, 0.03])
    assert [t.two_stage for t in times] == pytest.approx([0.025] * 3)


def test_a_victory_must_not_be_the_other_s_disturbance(monkeypatch):
    disturbed = iter([9.0])
    clock = Clock(
        monkeypatch,
        lambda n, two_stage: 0.02 if two_stage else 0.001 * n * next(disturbed, 1.0),
    )
    times = module.race(cores=1)
    assert [t.side for t in times] == [10, 20, 30]
    assert times[0].one_stage == pytest.approx(0.01)
    assert clock.solved.count(10) == 4
    assert clock.solved.count(30) == 2 * module.ROUNDS


def test_a_victory_stands_when_there_is_no_time_to_repeat_it(monkeypatch):
    clock = Clock(monkeypatch, lambda n, two_stage: 1.0 if two_stage else 1.5)
    (only,) = module.race(cores=1)
    assert (only.one_stage, only.two_stage) == (1.5, 1.0)
    assert clock.solved == [10, 10]


def test_the_race_ends_in_time(monkeypatch):
    # The next would take 0.2 * 2**3.3 = 2 seconds, and the one after it 7.
    Clock(monkeypatch, lambda n, two_stage: 1e-4 * n**3)
    assert [t.side for t in module.race(cores=1)] == [10, 20]


def test_as_many_matrices_at_once_as_memory_holds(monkeypatch):
    clock = Clock(monkeypatch, lambda n, two_stage: 0.0)
    monkeypatch.setattr(module, "MEMORY", 3 * 8 * 10**2)
    module.race(cores=5)
    assert {side: clock.solved.count(side) for side in clock.solved} == {10: 6, 20: 2, 30: 2, 40: 2}


def times_with(natives):
    return [SolverTimes(n, 2.0, 3.0, native) for n, native in natives.items()]


@pytest.mark.parametrize(
    ("natives", "expected"),
    [
        ({}, None),
        ({1024: None}, None),
        ({1024: 1.0, 2048: 1.9}, None),
        ({1024: 2.0}, None),
        ({1024: 1.0, 2048: 2.1}, 2048),
        ({1024: 2.5, 2048: 2.1}, 1024),
        ({1024: 2.5, 2048: 1.9}, None),
        ({1024: 2.5, 2048: 1.9, 4096: 2.2}, 4096),
    ],
    ids=str,
)
def test_lapack_is_taken_where_it_beats_the_compiled_solver(natives, expected):
    assert module.lapack_from(times_with(natives)) == expected


@pytest.mark.parametrize("native", [True, False])
def test_every_order_has_one_solver(monkeypatch, native):
    monkeypatch.setattr(module.eigen, "is_available", lambda size: native and size >= 32)
    choice = EigenSolvers(two_stage_from=1500, lapack_from=2000)
    small = "native" if native else "one_stage"
    assert [choice.of_order(n) for n in (5, 32, 1499)] == ["one_stage", small, small]
    assert choice.of_order(1999) == ("native" if native else "two_stage")
    assert choice.of_order(2000) == "two_stage"
    assert EigenSolvers().of_order(10**5) == small
    assert EigenSolvers(lapack_from=64).of_order(64) == "one_stage"


@pytest.mark.skipif(not module.lapack.has_two_stage(), reason="one solver only")
def test_a_real_race(monkeypatch):
    monkeypatch.setattr(module, "SIDES", (8, 12))
    times = module.race(cores=2)
    assert [each.side for each in times] in ([8], [8, 12])
    assert all(min(each.one_stage, each.two_stage) > 0 for each in times)


@pytest.mark.skipif(not module.eigen.is_available(), reason="no compiled solver")
def test_a_real_race_with_the_compiled_solver(monkeypatch):
    monkeypatch.setattr(module, "SIDES", (40,))
    (times,) = module.race(cores=2)
    assert times.best == min(times.one_stage, times.two_stage, times.native) > 0
