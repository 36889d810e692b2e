"""What stands alone in words: a mixture's statistics or signals, a graft, a series."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from mlx_probe.core.language import speaking, tr
from mlx_probe.report.graft_receipt import graft_sentences, is_graft, read_graft
from mlx_probe.report.mixture_data import load_mixture
from mlx_probe.report.mixture_summary import mixture_sentences
from mlx_probe.report.series_data import load_series, series_sentences
from mlx_probe.report.signals_data import load_signals
from mlx_probe.report.signals_summary import signals_sentences
from mlx_probe.report.terminal.plain import one_line
from mlx_probe.runs.mixture.folder import KIND as STATS
from mlx_probe.runs.mixture.read import kind_of
from mlx_probe.runs.series import KIND as SERIES
from mlx_probe.runs.series import is_series

__all__ = ["sentences_document", "sentences_of", "sentences_text"]


def sentences_of(run: str | os.PathLike[str]) -> list[str]:
    """What the page of such a run says in words, in the reader's language.

    Args:
        run: A finished run of `moe stats` or `moe signals`, or the folder of a graft or series.

    Raises:
        ResultError: It is damaged, or of another kind.
    """
    if is_graft(run):
        return graft_sentences(read_graft(run))
    if is_series(run):
        return series_sentences(load_series(run).meta)
    if kind_of(run) == STATS:
        return mixture_sentences(load_mixture(run))
    return signals_sentences(load_signals(run))


def sentences_text(sentences: Sequence[str]) -> RenderableType:
    """Sentences for a terminal, as a list."""
    heading = Text(tr("In words"), style="bold")
    items = (Padding(Text(f"- {one_line(text)}"), (0, 0, 0, 2)) for text in sentences)
    return Group(heading, *items)


def sentences_document(run: str | os.PathLike[str]) -> dict[str, Any]:
    """The same for programs, in English."""
    with speaking("en"):
        said = sentences_of(run)
    kind = "graft" if is_graft(run) else SERIES if is_series(run) else kind_of(run)
    return {"kind": kind, "run": str(Path(run)), "sentences": said}
