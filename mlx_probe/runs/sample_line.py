"""What a run's sample measured, in one line, from its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.core.units import format_size

__all__ = ["sample_head", "sample_line"]

# Layers that are listed: all of so few, or else so many of the first and of the last.
_ALL, _ENDS = 9, 3


def sample_line(sample: Mapping[str, Any] | None) -> str:
    """The selection, rows and bytes, layers and experts; "" where everything is measured.

    Args:
        sample: The key "sample" of a run's metadata, or of a plan.
    """
    if not sample:
        return ""
    stacks = sample["stacks"]
    texts = [sample_head(sample), *(_stack(stack, len(stacks) > 1) for stack in stacks)]
    return tr("; ").join(texts)


def sample_head(sample: Mapping[str, Any] | None) -> str:
    """The selection, rows and bytes; "" where everything is measured.

    Args:
        sample: As for `sample_line`.
    """
    if not sample:
        return ""
    rows, nbytes = sample["rows"], sample["bytes"]
    return tr(
        "{selection}: {count} of {rows} rows and {size} of {whole} are measured",
        selection=_selection(sample),
        count=f"{rows['measured']:,}",
        rows=f"{sum(rows.values()):,}",
        size=format_size(nbytes["measured"]),
        whole=format_size(sum(nbytes.values())),
    )


def _selection(sample: Mapping[str, Any]) -> str:
    if "experts" not in sample["selection"]:
        return str(sample["selection"])
    return tr("{selection} with seed {seed}", selection=sample["selection"], seed=sample["seed"])


def _stack(stack: Mapping[str, Any], several: bool) -> str:
    layers, experts = stack["layers"], stack["experts"]
    texts = [tr("all {count} layers", count=stack["of"])]
    if len(layers) < stack["of"]:
        some = {"count": len(layers), "all": stack["of"], "layers": _layers(layers)}
        texts = [tr("{count} of {all} layers ({layers})", **some)]
    if experts and experts["measured"] < experts["of"]:
        some = {"count": experts["measured"], "all": experts["of"]}
        texts.append(tr("{count} of {all} experts of each", **some))
    text = tr(", ").join(texts)
    return f"{stack['name']}: {text}" if several else text


def _layers(layers: Sequence[int]) -> str:
    texts = list(map(str, layers))
    if len(texts) > _ALL:
        texts[_ENDS:-_ENDS] = ["…"]
    return ", ".join(texts)
