"""The simulator of benchmarks/schedule.py against schedules that are known, and its page."""

import importlib
from dataclasses import replace

import pytest
from project import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def simulation():
    return importlib.import_module("_simulation")


def machine(simulation, **changed):
    return replace(simulation.Machine(workers=2, cores=2), **changed)


def test_one_worker_takes_the_sum(simulation):
    tasks = [simulation.Demand(1, 0.0, single=seconds) for seconds in (1.0, 2.0, 0.5)]
    alone = machine(simulation, workers=1, cores=1)
    assert simulation.simulate(tasks, [alone]).seconds == pytest.approx(3.5)


def test_two_equal_tasks_on_two_workers_take_the_time_of_one(simulation):
    tasks = [simulation.Demand(1, 0.0, single=1.0)] * 2
    assert simulation.simulate(tasks, [machine(simulation)]).seconds == pytest.approx(1.0)


@pytest.mark.parametrize(("lent", "seconds"), [(1.0, 3.0), (0.5, 2 + 2 / 1.5), (0.0, 4.0)])
def test_the_last_task_has_the_cores_that_nobody_else_needs(simulation, lent, seconds):
    tasks = [simulation.Demand(1, 0.0, divisible=2.0)] * 3
    run = simulation.simulate(tasks, [machine(simulation, lent=lent)])
    assert run.seconds == pytest.approx(seconds)


def test_busy_cores_are_slower(simulation):
    tasks = [simulation.Demand(1, 0.0, single=1.0)] * 2
    run = simulation.simulate(tasks, [machine(simulation, together=0.5)])
    assert run.seconds == pytest.approx(2.0)


def test_a_lane_lets_one_task_in_and_the_solver_goes_on_beside_it(simulation):
    piece = simulation.Piece(host=0.0, waited=1.0)
    tasks = [simulation.Demand(1, 0.0, (piece,), single=0.5)] * 4
    run = simulation.simulate(tasks, [machine(simulation, lanes=1)])
    # Four stays in the lane one after the other, and the last solution.
    assert run.seconds == pytest.approx(4.5)
    assert run.used[0]["GPU"] == pytest.approx(4.0)


def test_what_is_queued_does_not_hold_the_lane(simulation):
    piece = simulation.Piece(host=1.0, queued=1.0)
    tasks = [simulation.Demand(1, 0.0, (piece,))] * 4
    run = simulation.simulate(tasks, [machine(simulation, lanes=1)])
    assert run.seconds == pytest.approx(5.0)
    assert run.used[0]["lane"] == pytest.approx(4.0)


def test_tasks_that_do_not_fit_beside_each_other_come_one_after_the_other(simulation):
    tasks = [simulation.Demand(6, 0.0, single=2.0)] * 2
    run = simulation.simulate(tasks, [machine(simulation, budget=10)])
    assert (run.seconds, run.memory) == (pytest.approx(4.0), 6)


def test_a_small_task_passes_a_large_one_that_does_not_fit(simulation):
    sizes = (6, 6, 4)
    tasks = [simulation.Demand(size, 0.0, single=2.0) for size in sizes]
    run = simulation.simulate(tasks, [machine(simulation, budget=10)])
    assert (run.seconds, run.memory) == (pytest.approx(4.0), 10)


def test_the_interpreter_is_shared_by_workers_and_client(simulation):
    tasks = [simulation.Demand(1, 0.0, interpreter=1.0)] * 4
    run = simulation.simulate(tasks, [machine(simulation)], row=0.5)
    assert run.seconds == pytest.approx(6.0)
    assert run.used[0]["interpreter"] == pytest.approx(6.0)


def test_a_disk_that_binds_is_always_busy(simulation):
    piece = simulation.Piece(host=0.1)
    tasks = [simulation.Demand(1, 10.0, (piece,))] * 20
    run = simulation.simulate(tasks, [machine(simulation, disk=10.0)])
    assert run.used[0]["disk"] == pytest.approx(20.0)
    assert 20.0 < run.seconds < 20.5


def test_four_machines_share_the_tasks_and_wait_for_messages(simulation):
    tasks = [simulation.Demand(1, 0.0, single=1.0)] * 16
    four = [machine(simulation, processes=2)] * 4
    assert simulation.simulate(tasks, four).seconds == pytest.approx(2.0)
    # Every task and every answer travels; a short second task is already there.
    far = simulation.simulate(tasks, four, latency=0.1)
    assert far.seconds == pytest.approx(2.4)
    short = [replace(task, ahead=True) for task in tasks]
    assert simulation.simulate(short, four, latency=0.1).seconds == pytest.approx(2.2)


@pytest.mark.parametrize(("processes", "seconds"), [(1, 4.0), (2, 2.0)])
def test_a_process_has_one_interpreter(simulation, processes, seconds):
    tasks = [simulation.Demand(1, 0.0, interpreter=1.0)] * 8
    two = [machine(simulation, processes=processes)] * 2
    assert simulation.simulate(tasks, two).seconds == pytest.approx(seconds)


def test_reading_ahead_on_several_machines_may_read_for_others(simulation):
    tasks = [simulation.Demand(1, 1.0, single=1.0 + 0.1 * (number % 7)) for number in range(40)]
    one, two = (
        simulation.simulate(tasks, [machine(simulation, disk=100.0)] * count).read
        for count in (1, 2)
    )
    assert one == 40 < two <= 80


@pytest.mark.parametrize("count", [1, 3])
def test_every_resource_works_as_much_as_is_asked_of_it(simulation, count):
    tasks = [
        simulation.Demand(
            size=1 + number % 3,
            read=float(number % 5),
            pieces=(simulation.Piece(0.01, 0.02, 0.005, 0.03),) * (1 + number % 2),
            single=0.01 * (number % 7),
            interpreter=0.001 * (number % 4),
            rows=2,
        )
        for number in range(60)
    ]
    machines = [machine(simulation, lanes=1, disk=50.0, budget=5)] * count
    run = simulation.simulate(tasks, machines, row=0.001, latency=0.002)
    used = {name: sum(each[name] for each in run.used) for name in run.used[0]}
    pieces = [piece for task in tasks for piece in task.pieces]
    rows = 60 * 2 * 0.001
    python = sum(task.interpreter for task in tasks) + (rows if count == 1 else 0.0)
    expected = {
        "disk": run.read / 50,
        "GPU": sum(piece.waited + piece.queued for piece in pieces),
        "interpreter": python,
        "cores": sum(p.host for p in pieces) + sum(task.single for task in tasks) + python,
    }
    assert run.client == pytest.approx(rows)
    assert {name: used[name] for name in ("disk", "GPU")} == pytest.approx(
        {name: expected[name] for name in ("disk", "GPU")}
    )
    # Waiting for a core is part of the time in which the interpreter is held.
    assert used["cores"] == pytest.approx(expected["cores"])
    assert used["interpreter"] >= expected["interpreter"] * (1 - 1e-9)
    assert run.seconds >= max(used["GPU"], used["disk"]) / count


def test_the_page_is_what_the_results_say():
    page = importlib.import_module("_schedule_report")
    text = page.report(BENCHMARKS / "results")
    assert page.REPORT.read_text("utf-8") == text, "python benchmarks/schedule.py --write-report"
    assert "(not measured yet)" not in text
