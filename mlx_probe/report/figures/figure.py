"""A figure: its numbers, how it is drawn, and the files that it becomes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import replacing, write_error
from mlx_probe.core.language import speaking
from mlx_probe.report.figures.records import Content
from mlx_probe.report.figures.style import escaped, language_of_labels, styled
from mlx_probe.report.figures.views import VIEWS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["IMAGES", "SUFFIXES", "Plot"]

# Formats that matplotlib writes, and the metadata without which their bytes would change.
IMAGES: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
SUFFIXES = (*IMAGES, "csv")
# Dots to the inch where a notebook shows a figure: small, and sharp enough to read.
_NOTEBOOK_DPI, _NOTEBOOK_COLORS = 120, 64
_PRINT_DPI = 300


@dataclass(frozen=True)
class Plot:
    """A figure of one or more runs; a notebook shows it.

    Attributes:
        content: The numbers.
        view: Key of `VIEWS`.
        title: Above the panels; "" for none.
        width: Inches.
        height: Inches; None for what suits the content.
    """

    content: Content
    view: str
    title: str
    width: float
    height: float | None = None

    def records(self) -> list[dict[str, Any]]:
        """The numbers that are drawn, a row for each: those of the run's table."""
        return self.content.records()

    def frame(self) -> pd.DataFrame:
        """The numbers that are drawn, as a pandas DataFrame."""
        import pandas as pd

        frame: pd.DataFrame = pd.DataFrame.from_records(self.records())
        return frame

    def describe(self) -> Mapping[str, Any]:
        """The figure as JSON values: view, column, unit, runs and numbers."""
        return {"view": self.view, **self.content.described(), "points": self.records()}

    def save(self, path: str | Path, dpi: int = _PRINT_DPI) -> Path:
        """Write the figure, or with the suffix .csv its numbers.

        The same run gives the same bytes with the same version of matplotlib. Text is outlines
        in SVG, and embedded TrueType fonts in PDF.

        Args:
            path: Ends in one of `SUFFIXES`; folders are made, a file there is replaced.
            dpi: Dots to the inch of a PNG.

        Returns:
            The path.

        Raises:
            ConfigError: No such format, or matplotlib is not installed.
            ResultError: The disk refused.
        """
        path = Path(path)
        suffix = self.check_path(path)
        made = self._csv().encode() if suffix == "csv" else self.image(suffix, dpi)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(path.parent, error) from error
        with replacing(path) as temporary:
            temporary.write_bytes(made)
        return path

    def check_path(self, path: Path) -> str:
        """The format that a file's name asks for.

        Raises:
            ConfigError: It is none of `SUFFIXES`.
        """
        suffix = path.suffix.lower().removeprefix(".")
        if suffix not in SUFFIXES:
            raise ConfigError(
                f"{path} names no format for a figure",
                f"Let it end in {', '.join('.' + name for name in SUFFIXES)}",
            )
        return suffix

    def image(self, form: str, dpi: int = _PRINT_DPI) -> bytes:
        """The figure as the bytes of a file.

        Args:
            form: Key of `IMAGES`.
            dpi: Dots to the inch of a PNG.

        Raises:
            ConfigError: matplotlib is not installed.
        """
        view, written = VIEWS[self.view], io.BytesIO()
        with styled(), speaking(language_of_labels()):
            from matplotlib.figure import Figure

            height = self.height or view.height(self.content, self.width)
            height += 0.25 if self.title and self.height is None else 0.0
            figure = Figure(figsize=(self.width, height), dpi=dpi)
            if self.title:
                figure.suptitle(escaped(self.title))
            # Margins beside the largest and smallest floats overflow, and are not needed.
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                view.draw(figure, self.content)
                figure.savefig(written, format=form, metadata=IMAGES[form])
        return written.getvalue()

    def _csv(self) -> str:
        records, written = self.records(), io.StringIO()
        writer = csv.DictWriter(written, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return written.getvalue()

    def __repr__(self) -> str:
        """What is drawn, in one line."""
        of = " and ".join(self.content.runs)
        return f"<Plot: {self.view} of {self.content.metric}, {of}, {len(self.records())} points>"

    def _repr_png_(self) -> bytes:
        """The figure in a notebook, with few colours: it lies in the notebook's file."""
        from PIL import Image

        image = Image.open(io.BytesIO(self.image("png", _NOTEBOOK_DPI)))
        written = io.BytesIO()
        image.convert("RGB").quantize(_NOTEBOOK_COLORS).save(written, "png", optimize=True)
        return written.getvalue()
