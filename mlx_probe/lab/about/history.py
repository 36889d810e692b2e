"""What made a model: the training or tuning run around it, or another command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.lab.about.derivation import Derivation, read_derivation
from mlx_probe.lab.about.json_object import read_object
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.training.folder import KINDS

__all__ = ["History", "read_history"]

_META = "run_meta.json"


@dataclass(frozen=True)
class History:
    """What is known of how a model came to be.

    Attributes:
        run: run_meta.json of the run that made it; None if it says nothing.
        derivation: How it was made of another model; None if no record says so.
        base: Reference of the model that it was made from; None for one that began at random.
        datasets: Data that it learned from.
        tags: What it is, in single words.
    """

    run: Mapping[str, Any] | None
    derivation: Derivation | None
    base: str | None
    datasets: tuple[str, ...]
    tags: tuple[str, ...]


def read_history(reference: str, folder: Path) -> History:
    """The history of a model.

    Args:
        reference: As the user gave it.
        folder: Where its files are.

    Raises:
        ResultError: run_meta.json is damaged.
    """
    run = _run(reference, folder)
    derivation = read_derivation(folder)
    base = _base(run, derivation, folder)
    tags = []
    if run is not None:
        tags.append(str(run.get("kind")))
        tags += [str(run["method"])] if run.get("method") else []
        tags += ["grpo"] if run.get("objective") == "grpo" else []
    if derivation is not None:
        tags += derivation.tags
    data = run.get("data") if run is not None else None
    source = data.get("source") if isinstance(data, dict) else None
    names = source if isinstance(source, list) else [source] if source else []
    # The metadata of a card names data sets of the Hub.
    hub = tuple(str(name).removeprefix("hub:") for name in names if str(name).startswith("hub:"))
    return History(run, derivation, base, hub, tuple(tags))


def _run(reference: str, folder: Path) -> Mapping[str, Any] | None:
    """The run that a model belongs to: it lies in the run's folder, or among its snapshots."""
    path = Path(reference).expanduser()
    places = [path if path.name == _META else path / _META]
    if folder.name in ("model", "adapter"):
        places.append(folder.parent / _META)
    if folder.parent.name == "snapshots":
        places.append(folder.parent.parent / _META)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        return None
    meta = read_meta(found)
    # Analyses and comparisons made no model.
    return meta if meta.get("kind") in KINDS else None


def _base(run: Mapping[str, Any] | None, derivation: Derivation | None, folder: Path) -> str | None:
    if run is not None:
        base = run.get("base") or run.get("init")
        return str(base) if base else None
    if derivation is not None:
        return derivation.base
    adapter = read_object(folder / "adapter_config.json") or {}
    base = adapter.get("base_model_name_or_path") or adapter.get("model")
    return str(base) if base else None
