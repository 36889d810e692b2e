"""A series that waits for new checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mlx_probe.analysis.series.config import SeriesConfig, SeriesProgress
from mlx_probe.analysis.series.result import SeriesResult
from mlx_probe.analysis.series.series import measure_series
from mlx_probe.analysis.series.states import StepState
from mlx_probe.core.errors import SourceError

__all__ = ["follow_series"]


def follow_series(
    references: Sequence[str],
    out: Path,
    config: SeriesConfig,
    progress: SeriesProgress,
    publish: Callable[[Path], object] | None = None,
    *,
    until: int | None = None,
    idle: float | None = None,
    interval: float = 10.0,
) -> SeriesResult | None:
    """Measure checkpoints as they come, until there is nothing more to wait for.

    A checkpoint that is not whole yet is looked at again in the next round, and so is a folder
    that is not there.

    Args:
        references: See `measure_series`.
        out: Folder of the series.
        config: How.
        progress: Who watches.
        publish: See `measure_series`.
        until: The step after which nothing is waited for; None for none.
        idle: Seconds without a new checkpoint after which nothing is waited for; None for ever.
        interval: Seconds between two rounds.

    Returns:
        What all rounds did together; None if Ctrl-C came before the first checkpoint.

    Raises:
        Interrupted: Ctrl-C while a checkpoint was measured; finished rows stay on disk.
        ProbeError: As of `measure_series`, but for a missing folder or checkpoint.
    """
    every: dict[int, StepState] = {}
    result: SeriesResult | None = None
    changed = time.monotonic()
    try:
        while True:
            try:
                result = measure_series(references, out, config, progress, publish)
            except SourceError as error:
                progress.absent(error.fact)
            for state in result.states if result is not None else ():
                if state.state == "measured":
                    changed = time.monotonic()
                if state.state != "kept" or state.step not in every:
                    every[state.step] = state
            # Asked for once: what it replaced is of the new kind now.
            config = replace(config, overwrite=False)
            last = max((s.step for s in every.values() if s.state != "skipped"), default=None)
            if until is not None and last is not None and last >= until:
                break
            if idle is not None and time.monotonic() - changed >= idle:
                break
            progress.waiting(last)
            time.sleep(interval)
    except KeyboardInterrupt:
        pass  # nothing is at work: the user has seen enough
    if result is None:
        return None
    return replace(result, states=[every[step] for step in sorted(every)])
