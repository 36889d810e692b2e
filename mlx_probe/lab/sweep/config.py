"""The configuration of a sweep.

A YAML file says which command is run, and what differs between its runs:

    command: train --config configs/train/tiny.yaml --data notes.txt
    search: random
    trials: 20
    metric: val_loss
    parameters:
      train.learning_rate: {loguniform: [1e-4, 1e-2]}
      model.layers: [1, 2]
      --init: [small, large]
"""

from __future__ import annotations

import difflib
import itertools
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.sweep.ranges import Choices, Interval, read_range
from mlx_probe.library.experiments.directions import direction_of
from mlx_probe.runs.fingerprint import fingerprint_of

__all__ = ["SweepConfig", "read_sweep"]

# Raised when the trials of a sweep that began before would be others.
_VERSION = 1
_SEARCHES, _DIRECTIONS = ("grid", "random"), ("min", "max")
# More are a slip of the pen.
_MOST = 10_000


@dataclass(frozen=True)
class SweepConfig:
    """Which runs.

    Attributes:
        command: The words behind `mlx-probe`, without --out.
        parameters: By their names: an option such as "--gate", or else a key for --set.
        search: "grid" for every combination, "random" for some that are drawn.
        trials: How many are drawn; 0 with a grid.
        seed: Another one draws others.
        metric: The final number that counts.
        direction: "min" or "max", which is the better.
    """

    command: tuple[str, ...]
    parameters: Mapping[str, Choices | Interval]
    search: str = "grid"
    trials: int = 0
    seed: int = 0
    metric: str = "val_loss"
    direction: str = ""

    def __post_init__(self) -> None:
        if not self.command:
            raise ConfigError("command is empty", "Write for example command: train --data FILE")
        if any(word.partition("=")[0] == "--out" for word in (*self.command, *self.parameters)):
            raise ConfigError("command has --out", "Leave it out: each trial gets its own folder")
        if not self.parameters:
            raise ConfigError("parameters is empty", "Name what differs between the runs")
        _choose("search", self.search, _SEARCHES)
        _choose("direction", self.direction or direction_of(self.metric), _DIRECTIONS)
        if self.search == "random" and not 0 < self.trials <= _MOST:
            raise ConfigError(
                f"trials cannot be {self.trials} with search: random",
                f"Say how many runs are drawn, 1 to {_MOST}",
            )
        if self.search == "grid" and self.trials:
            raise ConfigError(
                "trials has no meaning with search: grid", "Leave it out, or write search: random"
            )

    @property
    def better(self) -> str:
        """Which is the better, "min" or "max"."""
        return self.direction or direction_of(self.metric)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides the settings of each trial; more trials are the same sweep."""
        known = self.describe()
        for key in ("trials", "metric", "direction"):
            del known[key]
        return fingerprint_of({"version": _VERSION, "kind": "sweep", **known})

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "command": list(self.command),
            "search": self.search,
            "trials": self.trials,
            "seed": self.seed,
            "metric": self.metric,
            "direction": self.better,
            "parameters": {
                name: list(each.values)
                if isinstance(each, Choices)
                else {each.kind: [each.low, each.high], "steps": each.steps}
                for name, each in self.parameters.items()
            },
        }

    def settings(self) -> Iterator[dict[str, str]]:
        """The settings of each trial, in their order.

        Raises:
            ConfigError: A grid has too many, or no number of values for one of its ranges.
        """
        names = list(self.parameters)
        if self.search == "grid":
            points = [each.points() for each in self.parameters.values()]
            count = 1
            for each in points:
                count *= len(each)
            if count > _MOST:
                raise ConfigError(
                    f"the grid has {count:,} trials, more than {_MOST:,}",
                    "Give it fewer values, or write search: random",
                )
            for values in itertools.product(*points):
                yield dict(zip(names, values, strict=True))
            return
        import numpy as np

        for number in range(self.trials):
            # Each by itself, so that more trials leave the first ones as they are.
            generator = np.random.default_rng([self.seed, number])
            yield {name: each.draw(generator) for name, each in self.parameters.items()}


def read_sweep(path: Path) -> SweepConfig:
    """Read a configuration.

    Args:
        path: A YAML file.

    Raises:
        ConfigError: It cannot be read, a key is unknown, or a value has no meaning there.
    """
    import yaml

    try:
        # Values stay text, for the command to read: 1e-3 is text for PyYAML's numbers.
        entries = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)
    except (OSError, UnicodeError, RecursionError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot read {path}: {reason}", "Check the file's path and its YAML syntax"
        ) from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path} is not a mapping", "Write `command:` and `parameters:` in it")
    known = [field.name for field in fields(SweepConfig)]
    for key in entries:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known)}"
            raise ConfigError(f"{path}: unknown key {key!r}", hint)
    try:
        return _made(entries)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.fact}", error.remedy) from error


def _made(entries: Mapping[str, Any]) -> SweepConfig:
    parameters = entries.get("parameters", {})
    if not isinstance(parameters, dict):
        raise ConfigError("parameters is not a mapping", "Write `name: [values]` below it")
    texts: dict[str, Any] = {
        key: entries[key] for key in ("search", "metric", "direction") if key in entries
    }
    for key, text in texts.items():
        if not isinstance(text, str):
            raise ConfigError(f"{key} cannot be {text!r}", "Give it one value")
    numbers: dict[str, Any] = {
        key: _whole(key, entries[key]) for key in ("trials", "seed") if key in entries
    }
    return SweepConfig(
        command=_words(entries.get("command", "")),
        parameters={str(name): read_range(str(name), each) for name, each in parameters.items()},
        **texts,
        **numbers,
    )


def _words(command: object) -> tuple[str, ...]:
    if isinstance(command, list) and all(isinstance(word, str) for word in command):
        words = list(command)
    elif isinstance(command, str):
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise ConfigError(f"command cannot be read: {error}", "Check its quotes") from error
    else:
        raise ConfigError("command is no command", "Write the words behind `mlx-probe`")
    return tuple(words[1:] if words[:1] == ["mlx-probe"] else words)


def _whole(key: str, value: object) -> int:
    try:
        return int(str(value).replace("_", "")) if isinstance(value, str) else int("")
    except ValueError:
        raise ConfigError(f"{key} cannot be {value!r}", "Give it a whole number") from None


def _choose(key: str, value: str, known: tuple[str, ...]) -> None:
    if value in known:
        return
    if key == "direction" and not value:
        raise ConfigError(
            "nothing is known of the metric: whether less or more of it is better",
            "Add `direction: min` or `direction: max`",
        )
    near = difflib.get_close_matches(value, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of {', '.join(known)}"
    raise ConfigError(f"{key} cannot be {value!r}", hint)
