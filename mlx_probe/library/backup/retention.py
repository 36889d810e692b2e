"""Which snapshots stay: the newest one of each of the last days, weeks, months."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from mlx_probe.core.errors import ConfigError

from .records import Snapshot

__all__ = ["Keep", "choose"]


@dataclass(frozen=True)
class Keep:
    """How many snapshots stay, of each set of paths.

    Attributes:
        last: The newest ones.
        daily: The newest one of each of the last days that have any.
        weekly: The same of weeks, from Monday.
        monthly: The same of months.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def check(self) -> None:
        """Raises if nothing would stay.

        Raises:
            ConfigError: It would not.
        """
        if not any(getattr(self, each.name) for each in fields(self)):
            raise ConfigError(
                "nothing says which snapshots to keep",
                "Add --keep-last, --keep-daily, --keep-weekly or --keep-monthly with a number",
            )


# What two snapshots have in common of which the newer one is kept.
_PERIODS: Mapping[str, Callable[[datetime, int], object]] = {
    "last": lambda time, number: number,
    "daily": lambda time, number: time.date(),
    "weekly": lambda time, number: time.isocalendar()[:2],
    "monthly": lambda time, number: (time.year, time.month),
}


def choose(
    snapshots: Sequence[Snapshot], keep: Keep
) -> tuple[list[tuple[Snapshot, tuple[str, ...]]], list[Snapshot]]:
    """Snapshots that stay, each with the rules that keep it, and the others; by time.

    Days are those of this machine's time zone.
    """
    reasons: dict[str, list[str]] = {}
    for paths in {(each.base, each.paths) for each in snapshots}:
        of_set = [each for each in snapshots if (each.base, each.paths) == paths]
        of_set.sort(key=lambda each: (each.time, each.id), reverse=True)
        for rule, period in _PERIODS.items():
            seen: set[object] = set()
            for number, snapshot in enumerate(of_set):
                key = period(datetime.fromisoformat(snapshot.time).astimezone(), number)
                if key not in seen and len(seen) < getattr(keep, rule):
                    seen.add(key)
                    reasons.setdefault(snapshot.id, []).append(rule)
    ordered = sorted(snapshots, key=lambda each: (each.time, each.id))
    kept = [(each, tuple(reasons[each.id])) for each in ordered if each.id in reasons]
    return kept, [each for each in ordered if each.id not in reasons]
