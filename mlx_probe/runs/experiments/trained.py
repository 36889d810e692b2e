"""Runs that train: train, tune, moe train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.experiments.records import Input, Value
from mlx_probe.runs.experiments.values import (
    flat,
    input_of,
    mapping,
    number,
    numbers,
    place_of,
    text,
)
from mlx_probe.runs.training.folder import METRICS
from mlx_probe.runs.training.metrics import read_lines

__all__ = ["adapter", "mixture", "model", "recipe", "results", "so_far", "training", "tuning"]

_Meta = Mapping[str, Any]
_PLAIN = ("tokens", "steps_done", "training_seconds", "parameters", "peak_memory")


def results(meta: _Meta) -> dict[str, float]:
    """Numbers of the last evaluation by their names, and of the best one: "best_val_loss"."""
    throughput = mapping(meta.get("throughput"))
    known = {name: number(meta.get(name)) for name in _PLAIN}
    known["learned_parameters"] = number(meta.get("learned_parameters"))
    known["tokens_per_second"] = number(throughput.get("tokens_per_second"))
    return {
        **{name: value for name, value in known.items() if value is not None},
        **numbers(mapping(meta.get("initial")), "initial_"),
        **numbers(mapping(meta.get("best")), "best_"),
        **numbers(mapping(meta.get("final"))),
    }


def so_far(folder: Path) -> dict[str, float]:
    """Numbers of a training that is not finished: the latest of each name, and the step.

    Args:
        folder: The run folder; without metrics, or with damaged ones, there are none.
    """
    try:
        lines, _ = read_lines(folder / METRICS)
    except ResultError:
        return {}
    found: dict[str, float] = {}
    for line in lines:
        found |= numbers(line)
    steps = found.pop("step", None)
    return found if steps is None else {**found, "steps_done": steps}


def recipe(meta: _Meta) -> dict[str, Value]:
    """The recipe, and what the computation took."""
    known = {name: meta[name] for name in ("device", "dtype", "world") if name in meta}
    return flat({**mapping(meta.get("recipe")), **known})


def training(folder: Path, meta: _Meta) -> tuple[Input, ...]:
    """The text of a new model, and what it began with."""
    return (*_named("model", meta.get("init"), meta), *_data(meta))


def tuning(folder: Path, meta: _Meta) -> tuple[Input, ...]:
    """The base and the conversations."""
    return (*_base(meta), *_data(meta))


def mixture(folder: Path, meta: _Meta) -> tuple[Input, ...]:
    """The mixture whose gates learn, its teacher, and the text."""
    return (*_base(meta), *_named("teacher", meta.get("teacher"), meta), *_data(meta))


def model(folder: Path, meta: _Meta) -> tuple[str, ...]:
    """The model that it wrote."""
    return _written(folder / "model")


def adapter(folder: Path, meta: _Meta) -> tuple[str, ...]:
    """The adapter that it wrote."""
    return _written(folder / "adapter")


def _written(path: Path) -> tuple[str, ...]:
    return (str(path),) if path.is_dir() else ()


def _named(role: str, name: object, meta: _Meta) -> tuple[Input, ...]:
    """A model by its name: a training run stands for the model in it."""
    place = place_of(name, meta)
    written = Path(place, "model")
    return input_of(role, name, path=str(written) if place and written.is_dir() else place)


def _base(meta: _Meta) -> tuple[Input, ...]:
    return input_of("base", meta.get("base"), path=text(meta.get("base_folder")))


def _data(meta: _Meta) -> tuple[Input, ...]:
    data = mapping(meta.get("data"))
    sources = data.get("sources")
    named = sources if isinstance(sources, list) else []
    if not named and isinstance(chosen := mapping(meta.get("recipe")).get("data"), Mapping):
        listed = chosen.get("sources")
        named = listed if isinstance(listed, list) else []
    # One hash stands for all of them: that of the tokens.
    fingerprint = text(data.get("fingerprint"))
    return tuple(
        each
        for source in named
        if isinstance(source, str)
        for each in input_of("data", source, path=place_of(source, meta), sha256=fingerprint)
    )
