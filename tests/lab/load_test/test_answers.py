"""What servers send, in one stream each: which tokens, which text, and when."""

import json

import pytest
from planned import planned_server

from mlx_probe.lab.load_test.tokens import Count

Plan, chunk, event, usage = (
    planned_server.Plan,
    planned_server.chunk,
    planned_server.event,
    planned_server.usage,
)
DONE = event("[DONE]")
# Seconds by which a chunk may be seen late while other work runs on the machine; the strict
# limit of 2 ms is that of benchmarks/load_test.py.
LATE = 0.05


def ended(plan, *counts, wait=0.0):
    plan.send(wait, chunk(finish="stop"))
    return plan.send(0, usage(*counts) + DONE) if counts else plan.send(0, DONE)


CJK = "说"


def several_in_a_chunk():
    plan = Plan("several in a chunk").send(0.03, chunk(content="one two three"), mark=True)
    return ended(plan.send(0.02, chunk(content=" four five"), mark=True), 7, 5)


def one_over_two_chunks():
    plan = Plan("one over two").send(0.02, chunk(content="hal"), mark=True)
    return ended(plan.send(0.02, chunk(content="ves"), mark=True), 7, 1)


def event_over_two_writes():
    first, second = chunk(content="whole")[:25], chunk(content="whole")[25:]
    plan = Plan("event over two writes").send(0.02, first)
    return ended(plan.send(0.03, second, mark=True), 7, 1)


def split_character():
    data = chunk(content=CJK)
    at = data.index(CJK.encode()) + 1
    plan = Plan("split character").send(0.01, data[:at]).send(0.01, data[at : at + 1])
    return ended(plan.send(0.02, data[at + 1 :], mark=True), 7, 1)


def empty_first():
    plan = Plan("empty first").send(0.02, chunk(role="assistant", content=""))
    plan.send(0.02, chunk(content=None)).send(0.01, b": keepalive 1/2\n\n")
    return ended(plan.send(0.02, chunk(content="at last"), mark=True), 7, 2)


def reasoning():
    plan = Plan("reasoning").send(0.02, chunk(reasoning_content="hm"), mark=True)
    plan.send(0.02, chunk(reasoning=" so"), mark=True)
    return ended(plan.send(0.02, chunk(content="42"), mark=True), 7, 9)


def tools():
    def call(**function):
        return chunk(tool_calls=[{"index": 0, "function": function}])

    plan = Plan("tools").send(0.02, chunk(role="assistant"))
    plan.send(0.02, call(name="add", arguments=""), mark=True)
    plan.send(0.02, call(arguments='{"a": 1}'), mark=True)
    return ended(plan, 7, 11)


def two_at_once():
    both = chunk(content="a") + chunk(content="b")
    return ended(Plan("two at once").send(0.02, both, mark=True), 7, 2)


def line_ends():
    data = chunk(content="a").replace(b"\n", b"\r\n")
    plan = Plan("line ends").send(0.02, b"\xef\xbb\xbfevent: x\r\n" + data[:-1])
    return ended(plan.send(0.02, data[-1:] + b"id: 1\r", mark=True).send(0, b"\n\r\n"), 7, 1)


def by_length():
    return ended(
        Plan("by length", framing="length").send(0.02, chunk(content="a"), mark=True), 7, 1
    )


def by_closing():
    return ended(
        Plan("by closing", framing="close").send(0.02, chunk(content="a"), mark=True), 7, 1
    )


def no_blank_line():
    plan = Plan("no blank line").send(0.02, chunk(content="a"), mark=True)
    return plan.send(0.01, chunk(finish="stop")[:-2])


def not_streamed():
    answer = {"choices": [{"message": {"content": "all"}, "finish_reason": "stop"}]}
    counts = {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    plan = Plan("not streamed", kind="application/json")
    return plan.send(0.03, json.dumps(answer | counts).encode(), mark=True)


CASES = {
    several_in_a_chunk: ("one two three four five", 5),
    one_over_two_chunks: ("halves", 1),
    event_over_two_writes: ("whole", 1),
    split_character: (CJK, 1),
    empty_first: ("at last", 2),
    reasoning: ("42", 9),
    tools: ("", 11),
    two_at_once: ("ab", 2),
    line_ends: ("a", 1),
    by_length: ("a", 1),
    by_closing: ("a", 1),
    no_blank_line: ("a", None),
    not_streamed: ("all", 3),
}


@pytest.fixture(scope="module")
def asked(ask, port):
    """All cases at once: what the client measured, and what the server says that it did."""
    plans = {case: case() for case in CASES}
    measured = ask(*plans.values())
    times = planned_server.times_of(port)
    return {case: (measured[plan.name], times[plan.name]) for case, plan in plans.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_text_and_tokens(case, asked):
    text, tokens = CASES[case]
    found, _ = asked[case]
    assert found.request.error == ""
    assert found.request.answer.text == text
    assert found.output == Count(tokens, "unknown" if tokens is None else "usage")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_times_are_those_of_the_server(case, asked):
    found, sent = asked[case]
    marks = [sent["sent"][mark] for mark in sent["marks"]]
    seen = found.request.answer.times
    if case is two_at_once:  # two chunks in one write come at one moment
        assert len(set(seen)) == 1
        seen = seen[:1]
    assert len(seen) == len(marks)
    for client, server in zip(seen, marks, strict=True):
        # The client's time is of the same clock, after the server's.
        assert 0 <= client - server < LATE
    assert found.ttft == pytest.approx(marks[0] - sent["received"], abs=LATE)
    # The end is what says why the answer ended; counts and [DONE] come after it.
    last = sent["sent"][-2] if case not in (no_blank_line, not_streamed) else sent["sent"][-1]
    assert found.request.answer.end == pytest.approx(last, abs=LATE)


def test_time_for_each_further_token_is_by_tokens_not_chunks(asked):
    found, _ = asked[several_in_a_chunk]
    assert found.tpot == pytest.approx((found.e2el - found.ttft) / 4)
    assert len(found.itl) == 1
    assert asked[one_over_two_chunks][0].tpot is None
