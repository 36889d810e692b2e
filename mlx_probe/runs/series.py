"""The folder of a series: a run of `analyze` for each step, and the tables over all of them.

DIR/series.json            which series it is, and the checkpoint of each step
    steps/000000100/       a run of `analyze`
    series.parquet         a row for each step and tensor
    changes.parquet        a row for each change
    run_meta.json          findings, written last
    report.html
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import write_error, write_text
from mlx_probe.runs.folder import DEFAULT_STEM, meta_name
from mlx_probe.runs.meta import read_meta

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CHANGES", "KIND", "META", "SERIES", "STEPS", "TABLE", "SeriesFolder", "is_series"]

KIND = "series"
META = meta_name(DEFAULT_STEM)
# What says which series it is, and the folder of its measurements.
SERIES, STEPS = "series.json", "steps"
# Stems of the tables.
TABLE, CHANGES = "series", "changes"
_STEP = re.compile(r"\d{9,15}")


class SeriesFolder:
    """The folder of a series.

    Args:
        path: It need not exist.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, step: int) -> Path:
        """Folder of the measurement of a step."""
        return self.path / STEPS / f"{step:09d}"

    def steps(self) -> list[int]:
        """Steps that are measured, ascending."""
        below = self.path / STEPS
        names = [each.name for each in below.iterdir()] if below.is_dir() else []
        found = [int(name) for name in names if _STEP.fullmatch(name)]
        return sorted(step for step in found if (self.run(step) / META).is_file())

    def meta(self, step: int) -> dict[str, Any]:
        """Metadata of the measurement of a step.

        Raises:
            ResultError: They cannot be read.
        """
        return read_meta(self.run(step) / META)

    @cached_property
    def snapshots(self) -> Mapping[int, Path]:
        """The measured steps when this was first asked for: step to the run of `analyze`."""
        return {step: self.run(step) for step in self.steps()}

    def spectra(self, step: int) -> pd.DataFrame | None:
        """The singular values of a step; see `load_spectra`. None if it kept none.

        Raises:
            ResultError: There is no such step, or its files are damaged.
        """
        # pyarrow, which a look at the folder does not need.
        from mlx_probe.runs.load_side import load_spectra

        return load_spectra(self.run(step))

    def about(self) -> dict[str, Any]:
        """Which series it is: "of" and "checkpoints"; empty for a new one.

        Raises:
            ResultError: The file is damaged.
        """
        path = self.path / SERIES
        return read_meta(path) if path.is_file() else {}

    def write_about(self, about: Mapping[str, Any]) -> None:
        """Write down which series it is.

        Raises:
            ResultError: The disk refused.
        """
        write_text(self.path / SERIES, json.dumps(about, indent=1, ensure_ascii=False) + "\n")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out.

        Raises:
            ResultError: Another process makes this series, or the disk refused.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ResultError(
                    f"another process makes the series in {self.path}",
                    "Wait until it ends, or choose another folder with --out",
                ) from error
            except OSError:
                pass  # some file systems have no locks
            yield
        finally:
            os.close(descriptor)
            # A new folder in which nothing could be written is of no use.
            with suppress(OSError):
                self.path.rmdir()


def is_series(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a series with results.

    Args:
        path: A folder, or its run_meta.json.
    """
    folder = Path(path)
    folder = folder.parent if folder.name == META else folder
    meta = folder / META
    if not meta.is_file() or not (folder / SERIES).is_file():
        return False
    try:
        return read_meta(meta).get("kind") == KIND
    except ResultError:
        return False
