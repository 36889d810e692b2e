import threading
import time

from mlx_probe.core.errors import Stopped
from mlx_probe.runs.monitor import Gate


def test_an_open_gate_holds_nobody():
    gate = Gate()
    gate.wait()
    assert (gate.state, gate.paused_seconds) == ("running", 0.0)


def test_threads_wait_until_it_opens():
    gate, passed = Gate(), []
    gate.pause()
    assert gate.state == "paused"
    threads = [threading.Thread(target=lambda: (gate.wait(), passed.append(1))) for _ in range(3)]
    for thread in threads:
        thread.start()
    # Nothing else could let them through.
    time.sleep(0.05)
    assert passed == []
    gate.resume()
    for thread in threads:
        thread.join(10)
    assert passed == [1, 1, 1]
    assert gate.state == "running"
    assert gate.paused_seconds >= 0.05


def test_the_clock_of_a_thread_that_waits_stands_still():
    gate = Gate()
    gate.pause()
    threading.Timer(0.2, gate.resume).start()
    began, clock = time.perf_counter(), gate.clock()
    gate.wait()
    working = gate.clock() - clock
    assert time.perf_counter() - began - working >= 0.19
    # Of one that did not wait it goes on.
    other = []
    thread = threading.Thread(target=lambda: other.append(gate.clock() - time.perf_counter()))
    thread.start()
    thread.join()
    assert abs(other[0]) < 0.01


def test_a_stop_turns_away_those_who_wait_and_those_who_come():
    gate, errors = Gate(), []
    gate.pause()

    def come():
        try:
            gate.wait()
        except Stopped as error:
            errors.append(error)

    thread = threading.Thread(target=come)
    thread.start()
    gate.stop("the fact", "The remedy")
    gate.stop("another", "Another")
    thread.join(10)
    come()
    assert [(e.fact, e.remedy) for e in errors] == [("the fact", "The remedy")] * 2
    assert gate.state == "stopping"
    gate.pause()
    assert gate.state == "stopping"


def test_paused_time_counts_once(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("mlx_probe.runs.monitor.gate.time.perf_counter", lambda: now[0])
    gate = Gate()
    gate.pause()
    now[0] += 2
    gate.pause()
    assert gate.paused_seconds == 2
    now[0] += 1
    gate.resume()
    gate.resume()
    now[0] += 5
    assert gate.paused_seconds == 3
