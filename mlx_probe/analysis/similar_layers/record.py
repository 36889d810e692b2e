"""A comparison of layers as a run: its folder, and what run_meta.json says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.files import write_error, write_text
from mlx_probe.runs.small_run import SmallRun, data_input, model_input, refuse_other_run
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.table.strict_json import document

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.result import SimilarLayers
    from mlx_probe.runs.experiments.records import Input

__all__ = ["KIND", "PAGE", "PAIRS", "RESULT", "begin_similar", "write_similar"]

KIND = "similar-layers"
RESULT, PAIRS, PAGE = "result.json", "pairs.csv", "report.html"

# Columns of the table of pairs, with their Arrow types.
_COLUMNS = {
    **dict.fromkeys(("stack",), "string"),
    **dict.fromkeys(("layer",), "int64"),
    **dict.fromkeys(("other_model", "other_stack"), "string"),
    **dict.fromkeys(("other_layer",), "int64"),
    **dict.fromkeys(("part", "role", "relation"), "string"),
    **dict.fromkeys(("cosine", "distance", "norm_ratio", "sum_cosine", "threshold"), "float64"),
    **dict.fromkeys(("spectrum_distance", "left_overlap", "right_overlap"), "float64"),
    **dict.fromkeys(("exact_cosine", "exact_distance", "held_out_cosine"), "float64"),
}


def begin_similar(out: Path) -> SmallRun:
    """Begin a comparison that will be written to a folder.

    Raises:
        ConfigError: It is a file.
        ResultError: It holds another command's run.
    """
    refuse_other_run(out, KIND)
    return SmallRun(KIND)


def write_similar(
    run: SmallRun,
    out: Path,
    result: SimilarLayers,
    described: Mapping[str, Any],
    page: str,
    models: Sequence[str],
    text: str = "",
) -> None:
    """Write result, table and page, then run_meta.json.

    Args:
        run: The command.
        out: The folder.
        result: What was compared.
        described: The document of --json.
        page: HTML.
        models: References as the user gave them, that of the model that is asked about first.
        text: The text that the model read; "" for none.

    Raises:
        ResultError: The disk refused.
    """
    import pyarrow as pa

    inputs: list[Input] = [
        model_input("model" if not n else "base", name, Path(name) if Path(name).exists() else None)
        for n, name in enumerate(models)
    ]
    if text:
        inputs.append(data_input(text))
    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in _COLUMNS.items()])
    try:
        out.mkdir(parents=True, exist_ok=True)
        WRITERS["csv"].write(pa.Table.from_pylist(list(result.rows()), schema), out / PAIRS)
        write_text(out / RESULT, document(described) + "\n")
        write_text(out / PAGE, page)
        run.write(
            out,
            inputs,
            {**asdict(result.config), "against": list(models[1:])},
            _numbers(result, described),
            files=[RESULT, PAIRS, PAGE],
        )
    except OSError as error:
        raise write_error(out, error) from error


def _numbers(result: SimilarLayers, described: Mapping[str, Any]) -> dict[str, float]:
    nearest = result.nearest()
    kinds = Counter(each.kind for each in result.findings)
    found: dict[str, float] = {
        "layers": len(result.blocks),
        "findings": len(result.findings),
        **{f"findings.{kind}": count for kind, count in sorted(kinds.items())},
        "largest_chance": result.names.chance,
    }
    if nearest is not None:
        found["nearest_cosine"] = nearest[2]
    activations = described.get("activations")
    if activations:
        found["loss"] = activations["loss"]
        found["least_influence"] = min(e["influence"] for e in activations["influence"])
    return found
