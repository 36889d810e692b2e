"""An evaluation as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.report.terminal.plain import one_line
from mlx_probe.report.terminal.wrapping import cells, padded

__all__ = ["evaluation_text"]


def evaluation_text(result: Mapping[str, Any]) -> str:
    """The values with their intervals, and what they were measured on.

    Args:
        result: From `evaluate`.
    """
    intervals = result["intervals"]
    names = {
        "val_loss": tr("loss, nats a token"),
        "perplexity": tr("perplexity"),
        "bits_per_byte": tr("bits per byte"),
    }
    width = max(map(cells, names.values()))
    lines = [
        f"{one_line(result['model'])}: {one_line(result['data'])}",
        *(
            f"  {padded(title, width)}  {result[key]:.4f}  [{intervals[key][0]:.4f}, "
            f"{intervals[key][1]:.4f}]"
            for key, title in names.items()
        ),
        tr(
            "{tokens} tokens, {bytes} bytes, {documents} documents; windows of {context}, stride "
            "{stride}",
            tokens=f"{result['tokens']:,}",
            bytes=f"{result['bytes']:,}",
            documents=f"{result['documents']:,}",
            context=result["context"],
            stride=result["stride"],
        ),
        _unit(intervals),
    ]
    if result["retokenized"]:
        lines.append(tr("the data's tokenizer is another one: their text was encoded anew"))
    return "\n".join(lines)


def _unit(intervals: Mapping[str, Any]) -> str:
    values = {
        "level": f"{100 * intervals['level']:.0f}",
        "units": f"{intervals['units']:,}",
        "resamples": f"{intervals['resamples']:,}",
        "seed": intervals["seed"],
    }
    if intervals["unit"] == "documents":
        return tr(
            "intervals of {level} %: {resamples} resamples of {units} documents, seed {seed}",
            **values,
        )
    return tr(
        "intervals of {level} %: {resamples} resamples of {units} windows, too narrow where "
        "windows of a document are alike; seed {seed}",
        **values,
    )
