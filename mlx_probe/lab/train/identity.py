"""What makes two training runs the same, so that one goes on where the other stopped."""

from __future__ import annotations

from typing import Any

from mlx_probe.lab.settings import settings_but
from mlx_probe.lab.train.config import Recipe
from mlx_probe.runs.fingerprint import fingerprint_of

__all__ = ["deciding_settings", "run_fingerprint"]

# Raised when a run that began before could not go on to the same bits.
_VERSION = 1
# They change what is kept, shown or how fast it goes, and no number of the training.
_FREE = (
    "data.workers",
    "train.checkpoint_every",
    "train.keep",
    "train.sample_every",
    "train.sample_prompt",
    "train.sample_tokens",
    "snapshots.watch_share",
)


def deciding_settings(recipe: Recipe, init: str | None) -> dict[str, Any]:
    """The settings that decide a run's numbers, by their full keys.

    Args:
        recipe: All settings.
        init: Reference of the model that training begins with; None for new weights.
    """
    return {**settings_but(recipe, _FREE), "init": init}


def run_fingerprint(settings: dict[str, Any]) -> str:
    """SHA-256 of what `deciding_settings` gives, as hex digits."""
    return fingerprint_of({"version": _VERSION, "settings": settings})
