"""A load test as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.text import grid

__all__ = ["facts", "latency_rows", "load_test_text", "sweep_rows", "verdict"]


def load_test_text(result: Mapping[str, Any]) -> RenderableType:
    """Requests, throughput, latencies, and the rates of a sweep.

    Args:
        result: From `load_test` or `sweep`.
    """
    parts: list[RenderableType] = [grid(facts(result)), _table(latency_rows(result), "left")]
    if result.get("sweep"):
        parts += [_table(sweep_rows(result), "right"), verdict(result["sweep"])]
    return Group(*parts)


def facts(result: Mapping[str, Any]) -> dict[str, str]:
    """What a test was, by title."""
    lines = {
        tr("server"): tr("{url}, model {model}", url=result["base_url"], model=result["model_id"]),
        tr("requests"): _requests(result),
        tr("rate"): _rate(result),
        tr("tokens"): _tokens(result),
    }
    if result["errors_by_count"]:
        lines[tr("errors")] = "\n".join(
            f"{count}: {translated(error)}" for error, count in result["errors_by_count"].items()
        )
    return lines


def latency_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Latencies as a table, its titles first."""
    titles = {
        "ttft": tr("until the first token, ms"),
        "tpot": tr("each further token, ms"),
        "itl": tr("between chunks, ms"),
        "e2el": tr("whole answer, ms"),
    }
    own = {name: _values(result, name) for name in titles}
    kinds = list(next((values for values in own.values() if values), {}))
    return [
        ["", *kinds],
        *(
            [
                f"{name}  {titles[name]}",
                *("-" if value is None else f"{value:,.2f}" for value in values.values()),
            ]
            for name, values in own.items()
            if values
        ),
    ]


def sweep_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The rates of a sweep as a table, its titles first."""
    return [
        [tr("requests/s asked"), tr("requests/s done"), tr("good"), tr("failed"), ""],
        *(
            [
                f"{step['request_rate']:.3g}",
                f"{step['request_throughput']:.3g}",
                f"{step['good_share']:.1%}",
                str(step["failed"]),
                tr("holds") if step["holds"] else tr("fails"),
            ]
            for step in result["sweep"]["steps"]
        ),
    ]


def _requests(result: Mapping[str, Any]) -> str:
    said = tr(
        "{completed} completed, {failed} failed, in {seconds} s; at most {most} at a time",
        completed=f"{result['completed']:,}",
        failed=f"{result['failed']:,}",
        seconds=f"{result['duration']:.2f}",
        most=result["max_concurrent_requests"],
    )
    if result["empty"]:
        said += "\n" + tr(
            "{count} answers were empty: no text, reasoning or tool call",
            count=f"{result['empty']:,}",
        )
    return said


def _rate(result: Mapping[str, Any]) -> str:
    said = tr("{rate} requests/s", rate=f"{result['request_throughput']:.3g}")
    if result["request_goodput"] is None:
        return said
    return said + tr(", {rate} of them good", rate=f"{result['request_goodput']:.3g}")


def _tokens(result: Mapping[str, Any]) -> str:
    titles = {
        "total_input_tokens": tr("{tokens} read"),
        "total_output_tokens": tr("{tokens} made"),
    }
    counts = {
        key: title.format(tokens=f"{result[key]:,}")
        for key, title in titles.items()
        if result[key] is not None
    }
    said = tr(", ").join(counts.values())
    if result["output_throughput"] is not None:
        said += tr(
            "; {rate} made/s, at most {most} in one second",
            rate=f"{result['output_throughput']:.4g}",
            most=f"{result['max_output_tokens_per_s'] or 0:,.0f}",
        )
    if len(counts) < len(titles):
        lacking = tr(
            "unknown: the server sends no usage for all requests; give the model's tokenizer "
            "with --tokenizer"
        )
        said = f"{said}\n{lacking}" if said else lacking
    elif result["output_tokens_from"]["tokenizer"]:
        said += "\n" + tr("counted by the tokenizer where the server sends no usage")
    return said


def _values(result: Mapping[str, Any], name: str) -> dict[str, float | None]:
    end = f"_{name}_ms"
    return {key.removesuffix(end): value for key, value in result.items() if key.endswith(end)}


def _table(rows: list[list[str]], first: Literal["left", "right"]) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(rows[0]):
        table.add_column(title, justify="right" if number else first, no_wrap=True)
    for row in rows[1:]:
        table.add_row(*row)
    return table


def verdict(sweep: Mapping[str, Any]) -> str:
    """What a sweep has found, in a sentence."""
    target = f"{sweep['target']:.0%}"
    if sweep["highest_rate"] is None:
        return tr(
            "At no rate that was tried {target} of the requests stayed within the goodput.",
            target=target,
        )
    if sweep["lowest_failing_rate"] is None:
        return tr(
            "{target} of the requests stayed within the goodput at every rate that was tried, up "
            "to {rate} requests/s.",
            target=target,
            rate=f"{sweep['highest_rate']:.3g}",
        )
    return tr(
        "Up to {rate} requests/s at least {target} of the requests stay within the goodput; at "
        "{failing} they do not.",
        rate=f"{sweep['highest_rate']:.3g}",
        target=target,
        failing=f"{sweep['lowest_failing_rate']:.3g}",
    )
