"""Servers that fail: each request says why, and the others do not notice."""

import json
import time

import pytest
from planned import planned_server

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.load_test.address import parse_address
from mlx_probe.lab.load_test.config import LoadTestConfig
from mlx_probe.lab.load_test.prompts import Prompt
from mlx_probe.lab.load_test.session import first_model, run_session

Plan, chunk, event = planned_server.Plan, planned_server.chunk, planned_server.event


def begun(name, **settings):
    return Plan(name, **settings).send(0.01, chunk(content="begin"))


def refused(status, content):
    return Plan(f"refused {status}", status=status, kind="application/json").send(0.01, content)


CASES = {
    "HTTP 500 Planned: no memory": refused(500, b'{"error": {"message": "no memory"}}'),
    "HTTP 401 Planned: wrong token": refused(401, b'{"detail": "wrong token"}'),
    "HTTP 404 Planned: <h1>nothing</h1>": refused(404, b"<h1>nothing</h1>"),
    "overloaded": begun("error event").send(0.01, event({"error": {"message": "overloaded"}})),
    "no JSON in a chunk": begun("broken").send(0.01, event('{"choices": [')),
    "no JSON object in a chunk": begun("a list").send(0.01, event([1])),
    "the stream ended without a finish_reason or [DONE]": begun("cut", framing="close"),
    "the server closed the connection": begun("closed").send(0.01, b"x" * 9),
    "no byte for 0.4 s": begun("stalled", end="stall"),
    "no UTF-8": begun("no UTF-8").send(0.01, b'data: {"choices": [], "x": "\xff"}\n\n'),
}
CASES["the server closed the connection"].end = "abort"


@pytest.fixture(scope="module")
def failed(ask):
    """All failures at once, and an answer that takes as long as the longest of them."""
    steady = Plan("steady")
    for _ in range(30):
        steady.send(0.02, chunk(content="a"), mark=True)
    steady.send(0, chunk(finish="length") + event("[DONE]"))
    plans = [*CASES.values(), steady]
    return ask(*plans, stall_timeout=0.4)


@pytest.mark.parametrize("error", CASES)
def test_a_request_says_why_it_failed(error, failed):
    found = failed[CASES[error].name]
    expected = "no JSON in a chunk: 'utf-8'" if error == "no UTF-8" else error
    assert found.request.error.startswith(expected)
    assert found.e2el is None
    assert not found.completed
    assert found.is_good({"ttft": 1e9}) is False


def test_others_do_not_notice(failed, port):
    steady = failed["steady"]
    assert steady.completed
    seen = steady.request.answer.times
    times = planned_server.times_of(port)["steady"]
    late = [client - times["sent"][mark] for client, mark in zip(seen, times["marks"], strict=True)]
    # Half of them within a millisecond, on a busy machine too.
    assert sorted(late)[len(late) // 2] < 0.005
    assert max(late) < 0.1


def test_a_whole_request_has_a_limit_of_time(ask):
    plan = Plan("too long")
    for _ in range(60):
        plan.send(0.1, chunk(content="a"))
    began = time.perf_counter()
    found = ask(plan, timeout=0.3)["too long"]
    assert time.perf_counter() - began < 3
    assert found.request.error == "no whole answer in 0.3 s"
    # What came before is kept.
    assert 0.1 <= found.ttft < 0.3


def test_an_address_where_nobody_listens():
    address = parse_address("127.0.0.1:1")
    prompts = [Prompt("x", None, 1, {})] * 3
    session = run_session(address, "m", prompts, LoadTestConfig())
    assert len(session.requests) == 3
    assert all("Connect" in request.error for request in session.requests)
    with pytest.raises(SourceError, match="does not answer"):
        run_session(address, "m", prompts, LoadTestConfig(ready_check_timeout_sec=0.3))
    with pytest.raises(SourceError, match="lists no model"):
        first_model(address, LoadTestConfig())


def test_connections_are_used_again(ask, port):
    def plan(number, framing="chunked"):
        made = Plan(f"again {number} {framing}", framing=framing)
        return made.send(0, chunk(content=json.dumps(number)) + event("[DONE]"), mark=True)

    plans = [plan(n, framing) for n in range(20) for framing in ("chunked", "length", "close")]
    found = ask(*plans, max_concurrency=2)
    assert [one.request.answer.text for one in found.values()] == [
        str(n) for n in range(20) for _ in range(3)
    ]
