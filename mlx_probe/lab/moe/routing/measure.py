"""A mixture reads a text, and its experts and routers are watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.lab.moe.logits import row_logits
from mlx_probe.lab.moe.routing.blocks import Block, find_blocks
from mlx_probe.lab.moe.routing.capture import BlockRun, watched_mixtures
from mlx_probe.lab.moe.routing.outputs import OutputMeans
from mlx_probe.lab.moe.routing.record import LayerRouting, Routing
from mlx_probe.lab.moe.routing.score_means import ScoreMeans

if TYPE_CHECKING:
    from mlx_probe.lab.generate.loading import LoadedModel

__all__ = ["measure_routing"]


def measure_routing(
    loaded: LoadedModel, rows: NDArray[np.int32], on_progress: Callable[[int, int], None]
) -> Routing:
    """Let a mixture read rows of tokens, one row at a time, and measure what its experts do.

    The outputs of one layer's experts for one row are in memory, and of every layer which experts
    each token was given to. The model is as before at the end.

    Args:
        loaded: A mixture that runs by mlx-lm (``load_model(..., by_mlx_lm=True)``), in float32 for
            exact weights (`single_precision`).
        rows: See `text_rows`; the last token of each is predicted, not read.
        on_progress: Called with the rows that are read, and all.

    Raises:
        ConfigError: The model is no mixture, or one of a kind that is not understood.
        CheckpointError: Its numbers are not finite.
    """
    found = find_blocks(loaded.model, loaded.name)
    means = {block.name: (OutputMeans(block.experts), ScoreMeans()) for block in found}
    nats = 0.0

    def add(run: BlockRun) -> None:
        for mean in means[run.block.name]:
            mean.add(run)

    with watched_mixtures(loaded.model, loaded.name, add) as blocks:
        for done, (_, of_row) in enumerate(row_logits(loaded.model, rows), 1):
            nats += of_row
            on_progress(done, len(rows))
    read = rows[:, :-1]
    if not np.isfinite(nats):
        raise CheckpointError(
            f"{loaded.name} predicts probabilities that are not numbers",
            "Look for weights that are not finite with `mlx-probe analyze`",
        )
    # Some models hold layers that they do not run, such as those that predict further tokens.
    ran = [block for block in blocks if not means[block.name][0].is_empty]
    if not ran:
        raise ConfigError(
            f"no mixture of {loaded.name} takes part when it runs",
            "Use `mlx-probe moe stats` without --data: it needs no run",
        )
    return Routing(
        name=loaded.name,
        tokens=read.ravel(),
        positions=np.tile(np.arange(read.shape[1], dtype=np.int32), len(read)),
        loss=nats / read.size,
        layers=tuple(_layer(block, *means[block.name]) for block in ran),
    )


def _layer(block: Block, outputs: OutputMeans, scores: ScoreMeans) -> LayerRouting:
    return outputs.result(block.name, block.layer, scores.result())
