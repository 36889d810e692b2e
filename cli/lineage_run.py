"""What `mlx-probe lineage` reads and writes, beside what it prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.analysis.lineage import Fingerprint, LineageConfig, read_fingerprint
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.core.files import write_text
from mlx_probe.report.terminal.download_progress import download_progress

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.family_records import Family
    from mlx_probe.runs.experiments import Input
    from mlx_probe.runs.small_run import SmallRun

__all__ = ["KIND", "fingerprint", "model_inputs", "write_folder"]

KIND = "lineage"
PAGE, DOCUMENT = "lineage.html", "lineage.json"


def fingerprint(model: str, remote: bool, config: LineageConfig) -> Fingerprint:
    """The sample of one model.

    Args:
        model: A reference; a path is on this disk, whatever the others are.
        remote: Whether others are read over the network.
        config: How much is read.

    Raises:
        ProbeError: As of `open_checkpoint` and `read_fingerprint`.
    """
    from mlx_probe.source.reference import exists

    fetching = download_progress(quiet=False)
    there = remote and not exists(model)
    with open_checkpoint(model, remote=there, fetching=fetching) as checkpoint:
        return read_fingerprint(checkpoint, config)


def model_inputs(family: Family) -> list[Input]:
    """The models as inputs of a run."""
    from mlx_probe.runs.small_run import model_input

    return [
        model_input("model", member.name, path if (path := Path(member.path)).exists() else None)
        for member in family.members
    ]


def write_folder(run: SmallRun, out: Path, family: Family, seed: int) -> None:
    """A run folder with the document and the page.

    Args:
        run: Of the beginning.
        out: The folder.
        family: What was found.
        seed: Of the sample.

    Raises:
        ResultError: The disk refused, or another run is there.
    """
    from mlx_probe.report.html.family_page import family_html
    from mlx_probe.runs.small_run import refuse_other_run

    refuse_other_run(out, KIND)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / DOCUMENT, json.dumps(family.as_json(), indent=1, ensure_ascii=False) + "\n")
    write_text(out / PAGE, family_html(family))
    related = [each for each in family.relations if each.relation != "unrelated"]
    counts: dict[str, float] = {
        "models": len(family.members),
        "pairs": len(family.relations),
        "related": len(related),
        "merges": len(family.merges),
        "trees": len(family.trees),
    }
    files: Sequence[str] = (DOCUMENT, PAGE)
    run.write(out, model_inputs(family), {"seed": seed}, counts, files)
