"""Conditions on runs in one text: ``val_loss<3.2 and config.train.lr=0.001``."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.runs.experiments.records import Value

__all__ = ["FIELDS", "Condition", "Quantity", "parse_conditions", "quantity_of"]

_Number = Callable[[float, float], bool]
_COMPARING: dict[str, _Number] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_OPERATORS = (*_COMPARING, "!=", "~", "=")
# A name, an operator, and a value: in quotes, or anything up to "and".
_CONDITION = re.compile(
    r"""\s*(?P<name>[^\s<>=!~"']+)\s*(?P<operator><=|>=|!=|==|<|>|=|~)\s*"""
    r"""(?P<value>"[^"]*"|'[^']*'|[^\s"'<>=!~][^"'<>=!~]*?)\s*(?:\band\b|$)""",
    re.IGNORECASE,
)
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None, "none": None}
# What every run has, beside its metrics and its configuration.
FIELDS: dict[str, Callable[[StoredRun], Value]] = {
    "id": lambda run: run.id,
    "kind": lambda run: run.kind,
    "name": lambda run: run.name,
    "model": lambda run: run.models,
    "state": lambda run: run.state,
    "created": lambda run: run.created_at,
    "seconds": lambda run: run.seconds,
    "version": lambda run: run.facts.get("version", ""),
    "code": lambda run: run.facts.get("code", ""),
    "note": lambda run: run.note,
}
_METRIC, _CONFIG = "metrics.", "config."
_SIMILAR = 3


@dataclass(frozen=True)
class Quantity:
    """Something that runs have a value of.

    Attributes:
        name: As messages name it.
        of: Its value in a run; None where the run has none.
    """

    name: str
    of: Callable[[StoredRun], Value]


@dataclass(frozen=True)
class Condition:
    """A comparison of one quantity of a run with a value.

    Attributes:
        name: As the user wrote it.
        operator: "<", "<=", ">", ">=", "=", "!=" or "~", which means "contains".
        value: A number, a text, True, False or None.
        text: The value as it was written.
    """

    name: str
    operator: str
    value: Value
    text: str

    def holds(self, value: Value) -> bool:
        """Whether a value meets it; a run without the value meets no condition but "=null"."""
        if self.value is None and self.operator in ("=", "!="):
            return (value is None) is (self.operator == "=")
        if value is None:
            return False
        if self.operator == "~":
            return self.text.lower() in str(value).lower()
        if self.operator in _COMPARING:
            compare: Any = _COMPARING[self.operator]
            if _is_number(value) and _is_number(self.value):
                return bool(compare(value, self.value))
            # Times are texts that sort as they follow each other; a number is no text.
            texts = isinstance(value, str) and isinstance(self.value, str)
            return texts and bool(compare(value, self.text))
        return self._equals(value) is (self.operator == "=")

    def _equals(self, value: Value) -> bool:
        if isinstance(value, bool) or isinstance(self.value, bool):
            return value is self.value
        if isinstance(value, str):
            return value.lower() == self.text.lower()
        return value == self.value


def parse_conditions(texts: Iterable[str]) -> tuple[Condition, ...]:
    """The conditions of several texts, all of which have to hold.

    Args:
        texts: Each ``NAME OPERATOR VALUE``, or several of these with "and" between them. A value
            in quotes is a text whatever it looks like.

    Raises:
        ConfigError: A text is no condition.
    """
    return tuple(condition for text in texts for condition in _parse(text))


def _parse(text: str) -> list[Condition]:
    conditions, at = [], 0
    while at < len(text):
        match = _CONDITION.match(text, at)
        if match is None:
            raise ConfigError(
                f"{text[:200]!r} is no condition",
                "Write NAME, one of < <= > >= = != ~ and a value, such as val_loss<3.2",
            )
        at = match.end()
        written = match["value"]
        sign = match["operator"].replace("==", "=")
        if written[0] in "\"'":
            conditions.append(Condition(match["name"], sign, written[1:-1], written[1:-1]))
        else:
            conditions.append(Condition(match["name"], sign, _value(written), written))
    if not conditions or re.search(r"\band\s*$", text, re.IGNORECASE):
        raise ConfigError(
            f"{text[:200]!r} is no whole condition",
            "Write NAME, one of < <= > >= = != ~ and a value, such as val_loss<3.2",
        )
    return conditions


def quantity_of(runs: Sequence[StoredRun], name: str) -> Quantity:
    """What a name means: a field of every run, or else a metric, or else a setting.

    Args:
        runs: All runs of the catalog.
        name: ``metrics.NAME`` and ``config.SECTION.KEY`` say which of them is meant.

    Raises:
        ConfigError: No run has it.
    """
    if name in FIELDS:
        return Quantity(name, FIELDS[name])
    metric = name.removeprefix(_METRIC)
    if not name.startswith(_CONFIG) and any(metric in run.metrics for run in runs):
        return Quantity(metric, lambda run: run.metrics.get(metric))
    key = name.removeprefix(_CONFIG)
    if not name.startswith(_METRIC) and any(key in run.config for run in runs):
        return Quantity(key, lambda run: run.config.get(key))
    raise _unknown(runs, name)


def _unknown(runs: Sequence[StoredRun], name: str) -> ConfigError:
    metrics = sorted({metric for run in runs for metric in run.metrics})
    config = sorted({key for run in runs for key in run.config})
    short = name.removeprefix(_METRIC).removeprefix(_CONFIG)
    names = [*FIELDS, *metrics, *config]
    # The key alone is easier to remember than its section.
    sections = [key for key in config if key.rpartition(".")[2] == short]
    near = list(dict.fromkeys([*sections, *difflib.get_close_matches(short, names, n=_SIMILAR)]))
    if near:
        remedy = f"Did you mean {' or '.join(near[:_SIMILAR])}?"
    else:
        known = ", ".join([*FIELDS, *metrics][:20])
        remedy = f"There are {known}, and settings such as config.train.steps"
    return ConfigError(f"no run has {name!r}", remedy)


def _value(text: str) -> Value:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return int(text) if re.fullmatch(r"[-+]?\d{1,18}", text) else float(text)
    except ValueError:
        return text


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
