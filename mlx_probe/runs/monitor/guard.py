"""Samples against rules: a message, a pause, or the end of the job."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psutil

from mlx_probe.core.units import format_size
from mlx_probe.runs.monitor.gate import Gate
from mlx_probe.runs.monitor.rules import GROWTH_SAMPLES, QUANTITIES, Reference, Rule
from mlx_probe.runs.monitor.sample import Sample

__all__ = ["REPEAT", "Episode", "Guard", "describe_holders"]

# Seconds between two messages about a pause that does not end.
REPEAT = 60.0


@dataclass
class Episode:
    """A time in which a rule is broken.

    Attributes:
        rule: The rule.
        began_at: When the first sample broke it.
        began: The same, in the job's seconds.
        value: The value of that sample.
        ended: When a sample kept it again, in the job's seconds; None while it is broken.
        reported: When the last message about it was sent, in the job's seconds.
    """

    rule: Rule
    began_at: datetime
    began: float
    value: str
    ended: float | None = None
    reported: float = 0.0

    def describe(self) -> dict[str, Any]:
        """For the run's metadata."""
        return {
            "rule": self.rule.text,
            "began_at": self.began_at.isoformat(timespec="seconds"),
            "seconds": None if self.ended is None else self.ended - self.began,
            "value": self.value,
        }


class Guard:
    """Checks samples against rules, and closes and opens the gate.

    An episode lasts from the first sample that breaks a rule to the first that keeps it again.
    It has a message at its beginning and its end; a pause has one for every minute in between.

    Args:
        rules: The rules.
        reference: The wholes of which shares are taken.
        gate: Closed by rules that pause or stop.
        on_alert: Called with each message, and whether it is a warning.
        holders: Describes which process holds a quantity that a pause does not free; None to
            look at the processes of this machine.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        reference: Reference,
        gate: Gate,
        on_alert: Callable[[str, bool], None],
        holders: Callable[[str, Sample], str] | None = None,
    ) -> None:
        self._reference, self._gate, self._on_alert = reference, gate, on_alert
        self._holders = holders or describe_holders
        self._rules = {rule: rule.resolved(reference) for rule in rules}
        self._open: dict[Rule, Episode] = {}
        self._swap: deque[int] = deque(maxlen=GROWTH_SAMPLES + 1)
        self.episodes: list[Episode] = []

    def take(self, sample: Sample) -> tuple[str, ...]:
        """Act on a sample.

        Returns:
            A text for each rule that it breaks.
        """
        if sample.swap_used is not None:
            self._swap.append(sample.swap_used)
        alerts = []
        for rule, resolved in self._rules.items():
            episode = self._open.get(rule)
            # A share of a whole that this machine does not report.
            if resolved is None:
                continue
            value = self._value(rule, sample)
            if self._is_broken(resolved, value, episode):
                text = "" if value is None else rule.describe(value, self._reference)
                alerts.append(f"{rule.text}: {text}" if text else rule.text)
                if episode is None:
                    self._begin(rule, text, sample)
                elif rule.action == "pause" and sample.seconds - episode.reported >= REPEAT:
                    self._remind(episode, text, sample)
            elif episode is not None:
                self._end(episode, value, sample)
        return tuple(alerts)

    def _value(self, rule: Rule, sample: Sample) -> float | None:
        if rule.side == "growing":
            return self._swap[-1] - self._swap[0] if len(self._swap) > 1 else None
        return QUANTITIES[rule.quantity].value(sample)

    def _is_broken(self, rule: Rule, value: float | None, episode: Episode | None) -> bool:
        if value is None:
            # Nothing was read: that is neither fast nor slow. But a quantity that the system no
            # longer reports must not keep a job paused.
            return episode is not None and rule.action != "pause"
        return rule.is_broken(value, episode is not None)

    def _begin(self, rule: Rule, value: str, sample: Sample) -> None:
        fact = f"{rule.quantity} at {value}" if rule.side != "growing" else f"swap {value}"
        episode = Episode(rule, sample.created_at, sample.seconds, value, reported=sample.seconds)
        self._open[rule] = episode
        self.episodes.append(episode)
        if rule.action == "warn":
            self._on_alert(f'{fact} ("{rule.text}")', True)
        elif rule.action == "pause":
            self._on_alert(f'paused: {fact} ("{rule.text}"); goes on when that is over', True)
            self._gate.pause()
        else:
            self._gate.stop(
                f'stopped by the rule "{rule.text}": {fact}; what was finished is saved',
                f"{QUANTITIES[rule.quantity].remedy} or give another rule, and run the same "
                "command again to go on from there",
            )
            self._on_alert(f'stopping: {fact} ("{rule.text}")', True)

    def _remind(self, episode: Episode, value: str, sample: Sample) -> None:
        episode.reported = sample.seconds
        minutes = round((sample.seconds - episode.began) / 60)
        self._on_alert(
            f"paused for {minutes} minutes: {episode.rule.quantity} at {value} "
            f'("{episode.rule.text}"); {self._holders(episode.rule.quantity, sample)}. '
            "Ctrl-C ends the job, which can go on later",
            True,
        )

    def _end(self, episode: Episode, value: float | None, sample: Sample) -> None:
        rule, episode.ended = episode.rule, sample.seconds
        del self._open[rule]
        now = "" if value is None else f" at {rule.describe(value, self._reference)}"
        seconds = f"{episode.ended - episode.began:.0f} s"
        if rule.action == "pause" and not any(r.action == "pause" for r in self._open):
            self._gate.resume()
            self._on_alert(f'goes on after {seconds}: {rule.quantity}{now} ("{rule.text}")', False)
        else:
            self._on_alert(f'over after {seconds}: "{rule.text}"{now}', False)


def describe_holders(quantity: str, sample: Sample) -> str:
    """Which process holds the quantity that a paused job waits for."""
    if quantity == "disk":
        return "something must be deleted on the disk of the results"
    own = f"this process holds {format_size(sample.process_memory or 0)}"
    key = "cpu_percent" if quantity == "others" else "memory_info"
    processes = []
    for process in psutil.process_iter(["pid", "name", key]):
        info: Mapping[str, Any] = process.info
        amount = info[key] if quantity == "others" else getattr(info[key], "rss", None)
        if amount and info["pid"] != psutil.Process().pid:
            processes.append((amount, info["pid"], info["name"] or "?"))
    if not processes:
        return own
    amount, pid, name = max(processes)
    if quantity == "others":
        return f"the busiest other process is {pid} ({name[:40]})"
    return f"{own}, the largest other process, {pid} ({name[:40]}), {format_size(amount)}"
