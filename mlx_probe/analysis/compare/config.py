"""What decides a comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside
from mlx_probe.compute.backends import BACKENDS

__all__ = ["KIND", "CompareConfig", "refuse_nonsense"]

# The metadata's key "kind", and the stem of the tables where the user names none.
KIND = "compare"


@dataclass(frozen=True)
class CompareConfig:
    """Everything that decides what `compare` computes and how it runs.

    Attributes:
        backend: Key in `BACKENDS`, or "auto".
        device: "auto", "cpu" or "gpu".
        include: Globs on tensor names of A (of B where A has none); empty means all.
        exclude: Globs on the same names, applied after ``include``.
        rank_tol: `delta_rank` counts singular values of the difference above ``rank_tol``
            times its largest.
        directions: Leading singular directions of A and B whose overlap is taken; 0 for none,
            and no singular vectors are computed.
        intruder_directions: Leading directions of B that are looked at for intruders.
        intruder_epsilon: A direction of B is an intruder if its cosine with every direction of
            A is below this.
        workers: Matrices in flight; 0 chooses for the backend and this machine.
        memory_limit: Bytes for the whole process; 0 takes four fifths of what is free.
    """

    backend: str = "auto"
    device: str = "auto"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rank_tol: float = 1e-6
    directions: int = 16
    intruder_directions: int = 10
    intruder_epsilon: float = 0.5
    workers: int = 0
    memory_limit: int = 0


def refuse_nonsense(config: CompareConfig) -> None:
    """Refuse values that no comparison can be made with.

    Raises:
        ConfigError: A value is outside its domain.
    """
    refuse_no_numbers(config)
    refuse_outside(
        config,
        (
            ("backend", config.backend in ("auto", *BACKENDS), f"auto, {', '.join(BACKENDS)}"),
            ("device", config.device in ("auto", "cpu", "gpu"), "auto, cpu, gpu"),
            ("rank_tol", 0 < config.rank_tol < 1, "above 0 and below 1"),
            ("directions", config.directions >= 0, "0 or more"),
            ("intruder_directions", config.intruder_directions >= 1, "1 or more"),
            ("intruder_epsilon", 0 < config.intruder_epsilon <= 1, "above 0 and up to 1"),
            ("workers", config.workers >= 0, "0 or more"),
            ("memory_limit", 0 <= config.memory_limit < math.inf, "0 or more bytes"),
        ),
    )
