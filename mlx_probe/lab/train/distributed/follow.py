"""The processes beside process 0: compute their part of each step, and write nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import mlx.core as mx

from mlx_probe.core.errors import ProbeError
from mlx_probe.lab.data.loader import Prefetcher
from mlx_probe.lab.device import DeviceName, use_device
from mlx_probe.lab.model.count import training_flops_per_token
from mlx_probe.lab.model.mini_llm import MiniLLM
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.train.distributed.agreement import agreed
from mlx_probe.lab.train.distributed.state import share_state
from mlx_probe.lab.train.distributed.world import World
from mlx_probe.lab.train.facts import step_tokens
from mlx_probe.lab.train.identity import deciding_settings, run_fingerprint
from mlx_probe.lab.train.initial import open_initial
from mlx_probe.lab.train.machine import Machine
from mlx_probe.lab.train.optimizer import make_optimizer, set_decays
from mlx_probe.lab.train.progress import Silent
from mlx_probe.lab.train.step import NotFinite, TrainStep
from mlx_probe.lab.train.tokens import open_tokens

__all__ = ["follow"]


def follow(
    recipe: Recipe,
    out: str | Path,
    world: World,
    *,
    data: Sequence[str | Path] = (),
    init: str | Path | None = None,
    device: DeviceName = "auto",
) -> int:
    """Take part in a training that process 0 leads; the arguments are those of `train`.

    Args:
        recipe: The model, its text, and how it is trained.
        out: The run folder: its tokens are read where this machine sees them.
        world: The processes; this one is not process 0.
        data: Sources of text, in the place of the recipe's.
        init: The model that process 0 begins with.
        device: "cpu", "gpu", or "auto" for a GPU where there is one.

    Returns:
        The exit code that process 0 wants.

    Raises:
        ConfigError: The processes cannot train together.
        PeerLost: A process is gone.
    """
    with _following(world):
        if (order := world.share(None)) and "end" in order:
            return int(order["end"])
        made = _Part(recipe, Path(out), world, data, init, device)
        order = made.begin()
        if "end" in order:
            return int(order["end"])
        return made.steps(order["position"])


class _Part:
    """This process's part: the same model as process 0, and its rows of the batches."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        world: World,
        data: Sequence[str | Path],
        init: str | Path | None,
        device: DeviceName,
    ) -> None:
        self._world = world
        try:
            use_device(device)
            if data:
                recipe = replace(recipe, data=replace(recipe.data, sources=tuple(map(str, data))))
            initial = open_initial(str(init)) if init is not None else None
            if initial is not None:
                recipe = initial.adapt(recipe)
            # Process 0 has written them; a machine that does not see its folder makes its own.
            self._tokens = open_tokens(recipe, out, Silent(), overwrite=False)
        except ProbeError as error:
            # All processes learn why, and end.
            world.check_same({}, error.fact)
            raise
        self._config = recipe.train
        self._shape = replace(recipe.model, vocabulary=self._tokens.vocabulary)
        flops = training_flops_per_token(self._shape) * step_tokens(recipe) * recipe.train.steps
        self._machine = Machine.here(self._config, flops, world.size)
        settings = deciding_settings(recipe, None if init is None else str(init))
        self._facts = agreed(
            run_fingerprint(settings), self._tokens.manifest.fingerprint, self._machine
        )
        self._model = MiniLLM(self._shape, self._config.dropout)
        self._model.checkpointing = self._config.gradient_checkpointing
        self._optimizer = make_optimizer(self._config, self._model)

    def begin(self) -> dict[str, Any]:
        """Take weights and optimizer state of process 0; where training begins."""
        self._world.check_same(self._facts)
        order: dict[str, Any] = self._world.share(None)
        if "end" not in order:
            share_state(self._world, self._model, self._optimizer)
        return order

    def steps(self, position: int) -> int:
        """Make the steps that process 0 makes, until it ends them; its exit code."""
        config, machine, world = self._config, self._machine, self._world
        step = TrainStep(
            self._model,
            self._optimizer,
            config,
            machine.number_type,
            machine.compiled,
            world.average,
            world.rank,
        )
        loader = self._tokens.loader(config.batch, self._shape.context, config.seed)
        with Prefetcher(loader, position, world.rank, world.size) as batches:
            while "end" not in (order := world.share(None)):
                if order["decays"] is not None:
                    set_decays(self._optimizer, order["decays"])
                mine = [mx.array(next(batches)) for _ in range(config.accumulation)]
                # Where the numbers are not finite, process 0 has the same ones and ends the run.
                with suppress(NotFinite):
                    step(order["step"], mine)
        return int(order["end"])


@contextmanager
def _following(world: World) -> Iterator[None]:
    """Belong to the processes within ``with``: a signal that comes here stops all of them."""

    def note(number: int, frame: FrameType | None) -> None:
        signal.signal(number, before[number])
        world.stop_all(number)

    handled = (signal.SIGINT, signal.SIGTERM)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in handled}
    ignore: Callable[[int], None] = lambda number: None  # noqa: E731  process 0 decides
    try:
        world.begin(ignore)
        for number in handled:
            signal.signal(number, note)
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
        world.close()
