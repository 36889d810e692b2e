"""The rules of handing out, with workers that answer as a test says."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from mlx_probe.analysis.cluster.dispatch import AHEAD, DEATHS, Dispatcher, Unit
from mlx_probe.analysis.cluster.fleet import Changes
from mlx_probe.analysis.cluster.session import Done, Failed
from mlx_probe.core.errors import ClusterError, Stopped
from mlx_probe.runs.monitor.gate import Gate


@dataclass
class Future:
    key: str
    status: str
    answer: object

    def add_done_callback(self, call):
        call(self)

    def result(self, timeout):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def release(self):
        pass


@dataclass
class Fleet:
    """Workers whose answer to a unit is the next of a list; without one, the unit is done."""

    answers: dict = field(default_factory=dict)
    token: str = "0" * 16
    given: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    tries: dict = field(default_factory=dict)

    def __post_init__(self):
        self.client = self
        self.members = {
            name: SimpleNamespace(
                worker=SimpleNamespace(
                    address=name, nthreads=1, memory=100, label=f"worker {name}"
                ),
                opened=SimpleNamespace(sizes=(10,) * 9, memory=20),
                rows=0,
                seconds=0.0,
                peak_memory=0,
            )
            for name in ("a", "b")
        }

    def submit(self, function, token, payload, key, workers, resources, **options):
        self.asked.append(resources["MEMORY"])
        self.given.append((payload, workers[0]))
        status, answer = next(
            iter(self.answers.get(payload, [])), ("finished", Done([payload], 0.1, {}, 1))
        )
        self.answers[payload] = self.answers.get(payload, [])[1:]
        self.tries[key] = payload
        return Future(key, status, answer)

    def cancel(self, futures, asynchronous):
        pass

    def refresh(self):
        return Changes()

    def forget(self, member):
        self.members.pop(member.worker.address)


def dispatched(fleet, units, gate=None):
    dispatcher = Dispatcher(fleet, gate or Gate(), lambda unit: None, lambda text: None, 5.0)
    return list(dispatcher.results(units))


def units(*names, work=AHEAD + 1):
    return [Unit(name, name, sizes=(0,), rows=1, work=work) for name in names]


def test_every_unit_is_done_once_the_first_ones_first():
    fleet = Fleet()
    results = dispatched(fleet, units(*"uvwxyz"))
    assert [unit.payload for unit, done in results if done] == list("uvwxyz")
    assert [payload for payload, _ in fleet.given] == list("uvwxyz")
    assert sum(member.rows for member in fleet.members.values()) == 6


def test_weights_that_are_measured_at_once_take_their_memory_together():
    fleet = Fleet()
    dispatched(fleet, [Unit("u", "u", sizes=(0, 1, 2), at_once=3, rows=3)])
    assert fleet.asked == [3 * 10 + 20]
    dispatched(fleet, [Unit("u", "u", sizes=tuple(range(9)), at_once=9, rows=9)])
    assert fleet.asked[-1] == 100  # all that the worker has: it would wait for more forever


def test_short_units_are_sent_ahead_and_long_ones_are_not():
    fleet = Fleet()
    dispatcher = Dispatcher(fleet, Gate(), lambda unit: None, lambda text: None, 5.0)
    results = dispatcher.results([*units(*"uvwx", work=1.0), *units("y")])
    next(results)
    assert len(fleet.given) == 4
    fleet = Fleet()
    dispatcher = Dispatcher(fleet, Gate(), lambda unit: None, lambda text: None, 5.0)
    next(dispatcher.results(units(*"uvwxy")))
    assert len(fleet.given) == 2


def test_a_cancelled_unit_is_given_again_and_nobody_is_to_blame():
    fleet = Fleet({"u": [("cancelled", RuntimeError())] * (DEATHS + 2)})
    ((unit, done),) = dispatched(fleet, units("u"))
    assert done is not None
    assert unit.deaths == ()


def test_a_result_that_cannot_be_read_is_not_asked_for_without_an_end():
    fleet = Fleet({"u": [("error", ValueError("no such class"))] * 100})
    results = {unit.payload: done for unit, done in dispatched(fleet, units(*"uv"))}
    assert results["u"] is None
    assert results["v"] is not None
    assert [payload for payload, _ in fleet.given].count("u") == DEATHS


def test_a_unit_that_failed_is_divided():
    parts = tuple(units("p", "q"))
    fleet = Fleet({"u": [("error", ValueError())], "q": [("error", ValueError())] * 2})
    whole = Unit("u", "u", sizes=(0, 1), rows=2, work=1.0, parts=parts)
    results = {unit.payload: done for unit, done in dispatched(fleet, [whole])}
    assert results["p"] is not None
    assert results["q"] is None


def test_a_failure_of_a_worker_is_told_with_its_name():
    fleet = Fleet({"u": [("finished", Failed("refused", "x.bin changed", "Copy it again"))]})
    with pytest.raises(ClusterError, match=r"worker [ab]: u: x.bin changed\n  Copy it again"):
        dispatched(fleet, units("u"))
    fleet = Fleet({"u": [("finished", Failed("bug", "KeyError('z')", "Traceback ..."))]})
    with pytest.raises(RuntimeError, match="KeyError"):
        dispatched(fleet, units("u"))


def test_a_worker_that_lost_its_work_is_taken_out():
    fleet = Fleet({"u": [("finished", Failed("lost", "the memory is full"))]})
    ((unit, done),) = dispatched(fleet, units("u"))
    assert done is not None
    assert len(unit.deaths) == 1
    assert len(fleet.members) == 1


def test_a_closed_gate_ends_it_after_what_was_handed_out():
    fleet, gate, results = Fleet(), Gate(), []
    dispatcher = Dispatcher(fleet, gate, lambda unit: None, lambda text: None, 5.0)

    def stop_after_the_first():
        for unit, _ in dispatcher.results(units(*"uvwxyz")):
            results.append(unit.payload)
            gate.stop("full", "Free space")

    with pytest.raises(Stopped):
        stop_after_the_first()
    assert results == ["u", "v"]
