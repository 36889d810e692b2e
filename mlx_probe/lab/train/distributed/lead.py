"""Process 0: tells the others what to do, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.optimizers import MultiOptimizer

from mlx_probe.core.errors import ConfigError, Interrupted
from mlx_probe.lab.train.distributed.state import share_state
from mlx_probe.lab.train.distributed.world import PeerLost, World
from mlx_probe.lab.train.loop import DecayPolicy
from mlx_probe.lab.train.step import MakeStep, Reduction, StepResult, TrainStep
from mlx_probe.lab.train.stopping import StopRequest

__all__ = ["Lead", "leading"]


class Lead:
    """What process 0 says to the others; with one process, to nobody.

    Attributes:
        world: The processes; None for one.
        stop: Gets the signal that another process got.
    """

    def __init__(self, world: World | None) -> None:
        self.world, self.stop = world, StopRequest()
        self._decays: Mapping[str, float] | None = None
        self._ended = world is None

    @property
    def size(self) -> int:
        """Processes."""
        return 1 if self.world is None else self.world.size

    def tokens_ready(self) -> None:
        """Let the others open the tokens, which process 0 has written if there were none."""
        self._say({"go": True})

    def start(
        self,
        facts: Mapping[str, str],
        model: nn.Module,
        optimizer: MultiOptimizer,
        step: int,
        position: int,
    ) -> None:
        """Check that all are to train the same, and give them the state to begin with.

        Args:
            facts: See `World.check_same`.
            model: The weights.
            optimizer: With its state.
            step: Steps made.
            position: Batches taken.

        Raises:
            ConfigError: A process differs.
            PeerLost: A process is gone.
        """
        if self.world is None:
            return
        try:
            self.world.check_same(facts)
            self._say({"step": step, "position": position})
            share_state(self.world, model, optimizer)
        except ConfigError:
            # All processes know it, and end by themselves.
            self._ended = True
            raise

    @property
    def reduction(self) -> Reduction | None:
        """Makes the mean over all processes; None for one."""
        return None if self.world is None else self.world.average

    def together(self, step: TrainStep) -> MakeStep:
        """A step that all processes make."""
        if self.world is None:
            return step

        def make(number: int, batches: Sequence[mx.array]) -> StepResult:
            self._say({"step": number, "decays": self._decays})
            self._decays = None
            return step(number, batches)

        return make

    def shared(self, policy: DecayPolicy | None) -> DecayPolicy | None:
        """A policy whose decays the others, if there are some, get before the next step."""
        return policy if policy is None or self.world is None else _SharedPolicy(policy, self.note)

    def note(self, decays: Mapping[str, float]) -> None:
        """Have the others take these multipliers of the weight decay before the next step."""
        self._decays = dict(decays)

    def end(self, code: int) -> None:
        """Let the others end.

        Args:
            code: Their exit code.
        """
        if not self._ended:
            self._say({"end": code})
            self._ended = True

    def _say(self, order: Mapping[str, Any]) -> None:
        if self.world is not None:
            self.world.share(order)


class _SharedPolicy:
    """A policy, and who is told what it decides."""

    def __init__(self, policy: DecayPolicy, note: Callable[[Mapping[str, float]], None]) -> None:
        self._policy, self._note = policy, note

    def due(self, step: int) -> bool:
        """See `DecayPolicy`."""
        return self._policy.due(step)

    def multipliers(self, weights: Mapping[str, mx.array]) -> Mapping[str, float]:
        """See `DecayPolicy`."""
        decided = self._policy.multipliers(weights)
        self._note(decided)
        return decided


@contextmanager
def leading(world: World | None) -> Iterator[Lead]:
    """Lead the others within ``with``; they end when it does, however it does."""
    lead = Lead(world)
    if world is None:
        yield lead
        return

    def note(number: int) -> None:
        lead.stop.signal = number

    try:
        world.begin(note)
        yield lead
        lead.end(0)
    except PeerLost:
        raise
    except BaseException as error:
        # A launcher stops the others when one of its processes is lost: that is not the cause.
        if isinstance(error, Interrupted) and (loss := world.loss()) is not None:
            raise loss from error
        with suppress(PeerLost):
            lead.end(getattr(error, "exit_code", 1))
        raise
    finally:
        world.close()
