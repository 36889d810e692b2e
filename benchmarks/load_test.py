"""How exactly the load test measures: against the times at which a server says that it sent.

    python benchmarks/load_test.py [--requests 1000] [--connections 32]

The server runs in a process of its own and keeps what it sends and when. Its answers are of all
kinds that servers send: several tokens in a chunk, one token over two chunks, a chunk over two
writes, a character over two writes, an empty first chunk, reasoning, tool calls; some requests
fail or stall in between. A latency is right if it is within 2 ms or 2 % of the server's. Exit
code 1 if one in a hundred is not, if a request is lost, or if a count of tokens is wrong.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from _planned_server import Plan, chunk, event, running, teach, times_of, usage
from _results import Cell, out_option, publish, rounded

from mlx_probe.lab.load_test.address import parse_address
from mlx_probe.lab.load_test.config import LoadTestConfig
from mlx_probe.lab.load_test.prompts import Prompt
from mlx_probe.lab.load_test.session import run_session
from mlx_probe.lab.load_test.statistics import Measured, measure

COLUMNS = (
    "requests, connections",
    "failed as planned",
    "lost",
    "wrong counts of tokens",
    "latency",
    "values",
    "median error, ms",
    "99 % of errors, ms",
    "largest, ms",
    "within 2 ms or 2 %",
)
TOKENS = 7


def tokens(draw: random.Random, plan: Plan) -> None:
    for number in range(TOKENS):
        plan.send(draw.uniform(0.005, 0.04), chunk(content=f" {number}"), mark=True)


def bundles(draw: random.Random, plan: Plan) -> None:
    for text in (" one two three", " four five", " six seven"):
        plan.send(draw.uniform(0.02, 0.06), chunk(content=text), mark=True)


def halves(draw: random.Random, plan: Plan) -> None:
    for _ in range(TOKENS):
        plan.send(draw.uniform(0.005, 0.02), chunk(content=" ha"), mark=True)
        plan.send(draw.uniform(0.005, 0.02), chunk(content="lf"), mark=True)


def split_writes(draw: random.Random, plan: Plan) -> None:
    for _ in range(TOKENS):
        data = chunk(content="说")
        at = data.index("说".encode()) + draw.randint(1, 2)
        plan.send(draw.uniform(0.005, 0.02), data[:at])
        plan.send(draw.uniform(0.005, 0.02), data[at:], mark=True)


def empty_first(draw: random.Random, plan: Plan) -> None:
    plan.send(draw.uniform(0.005, 0.02), chunk(role="assistant", content=""))
    plan.send(draw.uniform(0.005, 0.02), b": keepalive 1/1\n\n")
    tokens(draw, plan)


def reasons(draw: random.Random, plan: Plan) -> None:
    for _ in range(TOKENS - 1):
        plan.send(draw.uniform(0.005, 0.04), chunk(reasoning_content="hm "), mark=True)
    plan.send(draw.uniform(0.005, 0.04), chunk(content="42"), mark=True)


def calls(draw: random.Random, plan: Plan) -> None:
    for text in ('{"a"', ": 1, ", '"b"', ": 2}"):
        call = [{"index": 0, "function": {"arguments": text}}]
        plan.send(draw.uniform(0.005, 0.06), chunk(tool_calls=call), mark=True)


KINDS: tuple[Callable[[random.Random, Plan], None], ...] = (
    *(tokens, bundles, halves, split_writes, empty_first, reasons, calls),
)


def planned(number: int, draw: random.Random) -> tuple[Plan, bool]:
    """A plan, and whether its request is to fail."""
    framing = draw.choice(["chunked", "chunked", "close"])
    plan = Plan(str(number), framing=framing)
    KINDS[number % len(KINDS)](draw, plan)
    if number % 50 == 49:
        plan.end = draw.choice(["abort", "stall"])
        return plan, True
    plan.send(draw.uniform(0, 0.01), chunk(finish="stop"))
    plan.send(0.0, usage(11, TOKENS) + event("[DONE]"))
    return plan, False


def errors(one: Measured, told: dict[str, list[float]]) -> dict[str, list[tuple[float, float]]]:
    """By latency, the client's values and the server's, in seconds."""
    marks = [told["sent"][int(mark)] for mark in told["marks"]]
    end = told["sent"][-2]
    start = float(told["received"])  # type: ignore[arg-type]
    first, whole = marks[0] - start, end - start
    each = (end - marks[0]) / (TOKENS - 1)
    gaps = np.diff(marks)
    return {
        "ttft": [(one.ttft or 0.0, first)],
        "tpot": [(one.tpot or 0.0, each)],
        "itl": [(mine, float(its)) for mine, its in zip(one.itl, gaps, strict=True)],
        "e2el": [(one.e2el or 0.0, whole)],
        # Of one clock: how long after its sending a chunk was seen.
        "chunk seen": list(zip(one.request.answer.times, marks, strict=True)),
    }


@click.command()
@click.option("--requests", default=1000, show_default=True)
@click.option("--connections", default=32, show_default=True)
@click.option("--seed", default=0, show_default=True)
@out_option
def main(requests: int, connections: int, seed: int, out: Path) -> None:
    """Compare the client's latencies with the server's."""
    draw = random.Random(seed)
    plans = [planned(number, draw) for number in range(requests)]
    prompts = [Prompt(plan.name, None, 9, {}) for plan, _ in plans]
    config = LoadTestConfig(max_concurrency=connections, stall_timeout=1.0)
    with running() as port:
        teach(port, (plan for plan, _ in plans))
        session = run_session(parse_address(f"127.0.0.1:{port}"), "planned", prompts, config)
        told = times_of(port)
    measured = [measure(request, None) for request in session.requests]
    names = ("ttft", "tpot", "itl", "e2el", "chunk seen")
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    wrong = failed = 0
    for (plan, fails), one in zip(plans, measured, strict=False):
        failed += fails and not one.completed
        if fails or not one.completed:
            wrong += fails == one.completed
            continue
        wrong += one.output.tokens != TOKENS or one.input.tokens != 11
        for name, values in errors(one, told[plan.name]).items():
            pairs[name] += values
    rows: list[list[Cell]] = []
    lost, bad = requests - len(measured), 0
    for name, values in pairs.items():
        mine, its = np.array(values).T if values else np.zeros((2, 1))
        off = np.abs(mine - its)
        # 2 % of a moment is nothing.
        good = off <= (0.002 if name == "chunk seen" else np.maximum(0.002, 0.02 * its))
        bad = max(bad, float(1 - good.mean()))
        off = off * 1000
        shown = [rounded(float(number)) for number in (np.median(off), np.percentile(off, 99))]
        share = f"{good.mean():.2%}"
        row = [f"{requests}, {connections}", failed, lost, wrong, name, len(values), *shown]
        rows.append([*row, rounded(float(off.max())), share])
    note = (
        "Client and server share the machine's cores; times of both are of one clock. ttft and "
        "e2el begin when the client sends, the server's when it has read: in between are the "
        "opening of a connection (one request in three) and, at the beginning, all requests at "
        "once."
    )
    publish("load_test", COLUMNS, rows, note, out)
    sys.exit(bad > 0.01 or lost > 0 or wrong > 0)


if __name__ == "__main__":
    main()
