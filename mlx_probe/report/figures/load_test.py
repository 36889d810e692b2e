"""A load test as a figure: distributions of latencies, load over time, rates of a sweep."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.core.language import speaking, tr
from mlx_probe.report.figures.figure import IMAGES
from mlx_probe.report.figures.style import MUTED, language_of_labels, line_style, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["load_test_image"]

_WIDTH, _HEIGHT, _DPI = 7.0, 2.7, 200
# Moments at which requests are counted, and chunks in a bin of tokens, on average.
_MOMENTS, _CHUNKS = 200, 12


def load_test_image(result: Mapping[str, Any], form: str) -> bytes:
    """The figure as the bytes of a file; the same result gives the same bytes.

    Args:
        result: From `load_test` or `sweep`, with what each request took.
        form: Key of `IMAGES`.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    draws = [_draw_latencies, _draw_time]
    if result.get("sweep"):
        draws.append(_draw_sweep)
    written = io.BytesIO()
    with styled(), speaking(language_of_labels()):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI)
        for axes, draw in zip(figure.subplots(1, len(draws), squeeze=False)[0], draws, strict=True):
            draw(axes, result)
        figure.savefig(written, format=form, metadata=IMAGES[form])
    return written.getvalue()


def _draw_latencies(axes: Axes, result: Mapping[str, Any]) -> None:
    """The share of requests (of gaps, for itl) below each time."""
    pairs = zip(result["latencies"], result["ttfts"], result["output_lens"], strict=True)
    values: dict[str, Sequence[float | None]] = {
        "ttft": [t for t, e in zip(result["ttfts"], result["latencies"], strict=True) if e],
        "tpot": [
            (whole - first) / (count - 1)
            for whole, first, count in pairs
            if whole is not None and first is not None and count is not None and count > 1
        ],
        "itl": [
            gap
            for gaps, whole in zip(result["itls"], result["latencies"], strict=True)
            if whole is not None
            for gap in gaps
        ],
        "e2el": result["latencies"],
    }
    for number, (name, found) in enumerate(values.items()):
        # Chunks that came together have no time between them, and a logarithm no zero.
        numbers = np.sort([1000 * value for value in found if value is not None and value > 0])
        if len(numbers):
            share = np.arange(1, len(numbers) + 1) / len(numbers)
            style = {**line_style(number), "marker": ""}
            axes.step(numbers, share, where="post", linewidth=1.2, label=name, **style)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(tr("latency (ms)"))
    axes.set_ylabel(tr("share below"))
    if axes.lines:
        _plain_axis(axes, [float(x) for line in axes.lines for x in np.asarray(line.get_xdata())])
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(axes.lines))


def _draw_time(axes: Axes, result: Mapping[str, Any]) -> None:
    """Requests in flight, and tokens a second, over the time of the test."""
    from matplotlib.ticker import MaxNLocator

    rows = [
        row
        for row in zip(
            *(result[key] for key in ("start_times", "latencies", "ttfts", "itls", "output_lens")),
            strict=True,
        )
        if row[1] is not None
    ]
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(tr("time (s)"))
    axes.set_ylabel(tr("requests in flight"))
    if not rows:
        return
    begin = min(start for start, *_ in rows)
    end = max(start + whole for start, whole, *_ in rows)
    moments = np.linspace(0, end - begin, _MOMENTS + 1)
    starts = np.sort([row[0] - begin for row in rows])
    ends = np.sort([row[0] + row[1] - begin for row in rows])
    flight = np.searchsorted(starts, moments, "right") - np.searchsorted(ends, moments, "right")
    axes.fill_between(moments, flight, step="mid", color=MUTED, alpha=0.35, linewidth=0)
    axes.set_ylim(bottom=0)
    times, weights = _tokens(rows, begin)
    if len(times):
        # Few chunks in narrow bins would show when each came, not how many come.
        bins = int(np.clip(len(times) // _CHUNKS, 4, 60))
        counts, edges = np.histogram(times, bins, (0, end - begin), weights=weights)
        other = axes.twinx()
        other.spines["right"].set_visible(True)
        other.grid(visible=False)
        rate = counts / np.maximum(np.diff(edges), 1e-9)
        style = {**line_style(0), "marker": ""}
        other.plot((edges[:-1] + edges[1:]) / 2, rate, linewidth=1.2, **style)
        other.set_ylim(bottom=0)
        other.set_ylabel(tr("tokens/s"))


def _tokens(rows: Sequence[Any], begin: float) -> tuple[list[float], list[float]]:
    """When tokens came, and how many; those of an answer are spread evenly over its chunks."""
    times: list[float] = []
    weights: list[float] = []
    for start, _, first, gaps, count in rows:
        if first is not None and count:
            came = start + first - begin + np.cumsum([0.0, *gaps])
            times += came.tolist()
            weights += [count / len(came)] * len(came)
    return times, weights


def _draw_sweep(axes: Axes, result: Mapping[str, Any]) -> None:
    """The share of good requests at each rate."""
    sweep = result["sweep"]
    steps = sorted(sweep["steps"], key=lambda step: step["request_rate"])
    axes.plot(
        [step["request_rate"] for step in steps],
        [step["good_share"] for step in steps],
        linewidth=1.0,
        markersize=3,
        **line_style(0),
    )
    axes.axhline(sweep["target"], color=MUTED, linewidth=0.8, linestyle="--")
    if sweep["highest_rate"] is not None:
        axes.axvline(sweep["highest_rate"], color=MUTED, linewidth=0.8, linestyle=":")
    _plain_axis(axes, [step["request_rate"] for step in steps])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(tr("requests/s asked"))
    axes.set_ylabel(tr("share of good requests"))


def _plain_axis(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers."""
    # It imports matplotlib, which a test without a report does not need.
    from mlx_probe.report.figures.axes import log_axis

    log_axis(axes, "x", min(values), max(values))
