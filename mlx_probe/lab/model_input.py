"""A model that a command read, as its metadata name it."""

from __future__ import annotations

from pathlib import Path

from mlx_probe.lab.about.facts import model_place
from mlx_probe.runs import small_run
from mlx_probe.runs.experiments.records import Input

__all__ = ["model_input"]


def model_input(role: str, reference: str, folder: Path | None = None) -> Input:
    """A model, with the path by which another run's output is recognised.

    Args:
        role: See `Input`.
        reference: As the user named it: a run stands for the model or adapter that it left.
        folder: Where the files of a model from elsewhere are.
    """
    place = Path(model_place(reference)).expanduser()
    return small_run.model_input(role, reference, place if place.exists() else folder)
