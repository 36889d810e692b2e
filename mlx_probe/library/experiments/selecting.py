"""Selects runs of the catalog, and sorts them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.experiments.conditions import Condition, quantity_of
from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.runs.experiments.kinds import RUN_KINDS
from mlx_probe.runs.experiments.records import STATES, Value

__all__ = ["Selection", "moment", "select_runs", "sort_runs"]

_AGO = re.compile(r"(\d{1,5})\s*(h|d|w)", re.IGNORECASE)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_NEWEST = "created"


@dataclass(frozen=True)
class Selection:
    """Conditions on a run; empty ones mean none. Case does not matter.

    Attributes:
        kinds: Keys of `RUN_KINDS`; it is of one of them.
        model: Part of the names of its models.
        tags: Tags; it has all of them.
        states: Of `STATES`; it is in one of them.
        since: ISO 8601; it was made then or later.
        until: ISO 8601; it was made before.
        missing: Whether its folder is gone.
        conditions: All of them hold.
    """

    kinds: tuple[str, ...] = ()
    model: str = ""
    tags: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    missing: bool | None = None
    conditions: tuple[Condition, ...] = ()

    def matches(self, run: StoredRun) -> bool:
        """Whether a run meets everything but ``conditions``."""
        return (
            (not self.kinds or run.kind in self.kinds)
            and (not self.model or self.model.lower() in run.models.lower())
            and (not self.states or run.state in self.states)
            and (not self.since or run.created_at >= self.since)
            and (not self.until or run.created_at < self.until)
            and self.missing in (None, run.missing)
            and (not self.tags or set(map(str.lower, run.tags)) >= set(map(str.lower, self.tags)))
        )


def select_runs(runs: Sequence[StoredRun], selection: Selection) -> list[StoredRun]:
    """The runs that match, in their order.

    Args:
        runs: All runs of the catalog.
        selection: What they have to meet.

    Raises:
        ConfigError: There is no such kind or state, or no run has what a condition names.
    """
    _check("kind", selection.kinds, [*RUN_KINDS, *{run.kind for run in runs}])
    _check("state", selection.states, STATES)
    chosen = [run for run in runs if selection.matches(run)]
    if not runs:
        return []
    for condition in selection.conditions:
        quantity = quantity_of(runs, condition.name)
        chosen = [run for run in chosen if condition.holds(quantity.of(run))]
    return chosen


def sort_runs(
    runs: Sequence[StoredRun], every: Sequence[StoredRun], by: str = "", reverse: bool = False
) -> list[StoredRun]:
    """Sorted runs; those without the value come last in either direction.

    Args:
        runs: The runs.
        every: All runs of the catalog, which say what ``by`` may be.
        by: A field, a metric or a setting, smallest first; "" for the newest first.
        reverse: Whether the largest comes first; without ``by`` the oldest.

    Raises:
        ConfigError: No run has what ``by`` names.
    """
    if not by:
        return sorted(runs, key=lambda run: run.created_at, reverse=not reverse)
    if not every:
        return list(runs)
    quantity = quantity_of(every, by)
    valued = [(value, run) for run in runs if (value := quantity.of(run)) not in (None, "")]
    valued.sort(key=lambda pair: _order(pair[0]), reverse=reverse)
    none = [run for run in runs if quantity.of(run) in (None, "")]
    return [*(run for _, run in valued), *none]


def _order(value: Value) -> tuple[bool, float, str]:
    """Numbers before texts: settings of different runs need not be of one type."""
    if isinstance(value, (int, float)):
        return (False, float(value), "")
    return (True, 0.0, str(value).lower())


def moment(text: str, is_end: bool = False, now: datetime | None = None) -> str:
    """A time that a user writes, as the catalog writes times.

    Args:
        text: 2026-05-31, 2026-05-31T14:00, or how long ago: 12h, 7d, 3w. In UTC.
        is_end: Whether a day means its end.
        now: For tests.

    Raises:
        ConfigError: It is none.
    """
    now = now or datetime.now(timezone.utc)
    try:
        if ago := _AGO.fullmatch(text.strip()):
            when = now - timedelta(**{_UNITS[ago[2].lower()]: int(ago[1])})
        elif re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip()):
            day = date.fromisoformat(text.strip()) + timedelta(days=int(is_end))
            when = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
        else:
            when = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
            when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
        return when.astimezone(timezone.utc).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{text!r} is no time", "Write 2026-05-31, 2026-05-31T14:00, or 7d for a week ago"
        ) from None


def _check(what: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1) or list(dict.fromkeys(known))
            raise ConfigError(f"there is no {what} {name!r} of runs", f"Use {' or '.join(near)}")
