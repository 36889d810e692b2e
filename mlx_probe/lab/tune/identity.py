"""What makes two tunings the same, so that one goes on where the other stopped."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from mlx_probe.lab.settings import settings_but
from mlx_probe.lab.tune.config import TuneRecipe
from mlx_probe.runs.fingerprint import fingerprint_of

__all__ = ["base_digest", "deciding_settings", "tuning_fingerprint"]

# Raised when a run that began before could not go on to the same bits.
_VERSION = 1
# They change what is kept or shown, and no number of the training.
_FREE = (
    "train.checkpoint_every",
    "train.keep",
    "train.sample_every",
    "train.sample_prompt",
    "train.sample_tokens",
    "snapshots.compare",
)
# Of each file so many pieces of so many bytes are looked at: another model shows in any of them.
_PIECES, _BYTES = 16, 1 << 20


def deciding_settings(recipe: TuneRecipe, model: str, data: Path) -> dict[str, Any]:
    """The settings that decide a run's numbers, by their full keys.

    Args:
        recipe: All settings.
        model: Reference of the base.
        data: The folder of the conversations.
    """
    settings = settings_but(recipe, _FREE)
    if recipe.train.objective != "grpo":
        settings = {key: each for key, each in settings.items() if not key.startswith("grpo.")}
    return {**settings, "model": model, "data": str(data)}


def tuning_fingerprint(settings: dict[str, Any]) -> str:
    """SHA-256 of what `deciding_settings` gives, as hex digits."""
    return fingerprint_of({"version": _VERSION, "kind": "tune", "settings": settings})


def base_digest(folder: Path) -> str:
    """SHA-256 of pieces of a model's weight files and of its config.json.

    Raises:
        OSError: A file cannot be read.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for piece in range(_PIECES):
                file.seek(max(0, size - _BYTES) * piece // (_PIECES - 1))
                digest.update(file.read(_BYTES))
    return digest.hexdigest()
