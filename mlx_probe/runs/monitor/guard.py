"""What follows from samples that break rules: a word, a pause, the end of the job."""

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
    """A rule that is broken, or was.

    Attributes:
        rule: The rule.
        began_at: When it was found broken.
        began: The same, in the job's seconds.
        value: What was found then.
        ended: When it was found kept again, in the job's seconds; None while it is broken.
        told: When the user last heard of it, in the job's seconds.
    """

    rule: Rule
    began_at: datetime
    began: float
    value: str
    ended: float | None = None
    told: float = 0.0

    def describe(self) -> dict[str, Any]:
        """For the run's metadata."""
        return {
            "rule": self.rule.text,
            "began_at": self.began_at.isoformat(timespec="seconds"),
            "seconds": None if self.ended is None else self.ended - self.began,
            "value": self.value,
        }


class Guard:
    """Holds samples against rules and works the gate.

    A rule that is broken is one episode until it is kept again, with one message at its
    beginning and, of a pause, one at its end and one for every minute in between.

    Args:
        rules: The rules.
        reference: What their shares are shares of.
        gate: What a rule that pauses or stops closes.
        tell: Is given each message, and whether it is a warning.
        holders: Says what holds a quantity that a pause does not free; None for a look at
            this machine's processes.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        reference: Reference,
        gate: Gate,
        tell: Callable[[str, bool], None],
        holders: Callable[[str, Sample], str] | None = None,
    ) -> None:
        self._reference, self._gate, self._tell = reference, gate, tell
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
            # A share of what this machine does not tell.
            if resolved is None:
                continue
            value = self._value(rule, sample)
            if self._is_broken(resolved, value, episode):
                found = "" if value is None else rule.describe(value, self._reference)
                alerts.append(f"{rule.text}: {found}" if found else rule.text)
                if episode is None:
                    self._begin(rule, found, sample)
                elif rule.action == "pause" and sample.seconds - episode.told >= REPEAT:
                    self._remind(episode, found, sample)
            elif episode is not None:
                self._end(episode, value, sample)
        return tuple(alerts)

    def _value(self, rule: Rule, sample: Sample) -> float | None:
        if rule.side == "growing":
            return self._swap[-1] - self._swap[0] if len(self._swap) > 1 else None
        return QUANTITIES[rule.quantity].value(sample)

    def _is_broken(self, rule: Rule, value: float | None, episode: Episode | None) -> bool:
        if value is None:
            # Nothing was read: that is neither fast nor slow. But no pause must hang on a
            # quantity that the system no longer tells.
            return episode is not None and rule.action != "pause"
        return rule.is_broken(value, episode is not None)

    def _begin(self, rule: Rule, found: str, sample: Sample) -> None:
        told = f"{rule.quantity} at {found}" if rule.side != "growing" else f"swap {found}"
        episode = Episode(rule, sample.created_at, sample.seconds, found, told=sample.seconds)
        self._open[rule] = episode
        self.episodes.append(episode)
        if rule.action == "warn":
            self._tell(f'{told} ("{rule.text}")', True)
        elif rule.action == "pause":
            self._tell(f'paused: {told} ("{rule.text}"); goes on when that is over', True)
            self._gate.pause()
        else:
            self._gate.stop(
                f'stopped by the rule "{rule.text}": {told}; what was finished is saved',
                f"{QUANTITIES[rule.quantity].remedy} or give another rule, and run the same "
                "command again to go on from there",
            )
            self._tell(f'stopping: {told} ("{rule.text}")', True)

    def _remind(self, episode: Episode, found: str, sample: Sample) -> None:
        episode.told = sample.seconds
        minutes = round((sample.seconds - episode.began) / 60)
        self._tell(
            f"paused for {minutes} minutes: {episode.rule.quantity} at {found} "
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
            self._tell(f'goes on after {seconds}: {rule.quantity}{now} ("{rule.text}")', False)
        else:
            self._tell(f'over after {seconds}: "{rule.text}"{now}', False)


def describe_holders(quantity: str, sample: Sample) -> str:
    """Who has what a paused job waits for, in a few words."""
    if quantity == "disk":
        return "something must be deleted on the disk of the results"
    own = f"this process holds {format_size(sample.process_memory or 0)}"
    key = "cpu_percent" if quantity == "others" else "memory_info"
    processes = []
    for process in psutil.process_iter(["pid", "name", key]):
        told: Mapping[str, Any] = process.info
        amount = told[key] if quantity == "others" else getattr(told[key], "rss", None)
        if amount and told["pid"] != psutil.Process().pid:
            processes.append((amount, told["pid"], told["name"] or "?"))
    if not processes:
        return own
    amount, pid, name = max(processes)
    if quantity == "others":
        return f"the busiest other process is {pid} ({name[:40]})"
    return f"{own}, the largest other process, {pid} ({name[:40]}), {format_size(amount)}"
