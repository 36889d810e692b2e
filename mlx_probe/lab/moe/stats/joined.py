"""The tables and arrays of a mixture's statistics: of its weights, and of the text that it read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.mixture.columns import EXPERT_COLUMNS, LAYER_COLUMNS
from mlx_probe.core.records import Column, Row
from mlx_probe.runs.mixture.folder import MAPS, ROUTING
from mlx_probe.runs.mixture.maps import stacked, write_maps
from mlx_probe.runs.mixture.routing import ROUTED_EXPERT_COLUMNS, ROUTED_LAYER_COLUMNS
from mlx_probe.runs.table.schema import rows_to_table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from mlx_probe.analysis.mixture.plan import MixturePlan
    from mlx_probe.lab.moe.stats.routed import JoinedText

__all__ = ["Joined", "expert_columns", "layer_columns"]

Maps = Mapping[str, "NDArray[np.float32]"]


def expert_columns(reads: bool) -> tuple[Column, ...]:
    """Columns of the table of experts; ``reads``: whether the mixture reads a text."""
    return (*EXPERT_COLUMNS, *ROUTED_EXPERT_COLUMNS) if reads else EXPERT_COLUMNS


def layer_columns(reads: bool) -> tuple[Column, ...]:
    """Columns of the table of layers."""
    return (*LAYER_COLUMNS, *ROUTED_LAYER_COLUMNS) if reads else LAYER_COLUMNS


class Joined:
    """What is written, put together.

    Args:
        mixture: The layers.
        rows: Of all experts, by their index: what the weights say.
        layers: Of each layer, its row and its maps.
        text: What the mixture read; None for nothing.

    Attributes:
        experts: The table of experts.
        layers: The table of layers.
    """

    def __init__(
        self,
        mixture: MixturePlan,
        rows: Mapping[int, Row],
        layers: Sequence[tuple[Mapping[str, Any], Maps]],
        text: JoinedText | None,
    ) -> None:
        self._text, reads = text, text is not None
        said: list[Mapping[str, Any]] = [{} for _ in rows]
        of_layers = [(dict(row), dict(maps)) for row, maps in layers]
        if text is not None:
            routed = text.layers(mixture.layers)
            for place, (_, indices) in enumerate(mixture.numbered()):
                for index, values in zip(indices, routed[place].experts, strict=True):
                    said[index] = values
                of_layers[place][0].update(routed[place].layer)
                of_layers[place][1].update(routed[place].maps)
        self.experts: pa.Table = rows_to_table(
            (Row(index, {**row.values, **said[index]}) for index, row in rows.items()),
            expert_columns(reads),
        )
        self.layers: pa.Table = rows_to_table(
            (Row(number, row) for number, (row, _) in enumerate(of_layers)), layer_columns(reads)
        )
        self._maps = stacked([maps for _, maps in of_layers])

    def write_arrays(self, folder: Path) -> list[Path]:
        """Write the maps, and the routing of the first tokens, each by atomic replacement.

        Returns:
            The files.

        Raises:
            ResultError: The disk refused.
        """
        write_maps(folder / MAPS, self._maps)
        if self._text is None:
            return [folder / MAPS]
        self._text.write_beginning(folder / ROUTING)
        return [folder / MAPS, folder / ROUTING]
