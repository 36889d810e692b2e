"""The measured snapshots of a training run as series: a value for each matrix and step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.training.spectral_change import settled_at, spectral_changes

if TYPE_CHECKING:
    import pandas as pd

    from mlx_probe.runs.training.run import TrainingRun

__all__ = ["History", "history_of"]


@dataclass(frozen=True)
class History:
    """The matrices of a training run over its snapshots.

    Attributes:
        steps: Steps of the measured snapshots, ascending.
        names: Of the matrices, in the order of the table.
        layers: Layer of each matrix; None outside the layers.
        frame: The rows of all snapshots.
        changes: As `spectral_changes` returns them.
    """

    steps: Sequence[int]
    names: Sequence[str]
    layers: Mapping[str, int | None]
    frame: pd.DataFrame
    changes: Mapping[str, NDArray[np.float64]]

    def series(self, column: str) -> NDArray[np.float64]:
        """A column as numbers, shape (names, steps); NaN where there is none."""
        if column not in self.frame or not self.names:
            return np.full((len(self.names), len(self.steps)), np.nan)
        values = self.frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
        table = np.full((len(self.names), len(self.steps)), np.nan)
        row = {name: at for at, name in enumerate(self.names)}
        place = {step: at for at, step in enumerate(self.steps)}
        for name, step, value in zip(
            self.frame["param_name"], self.frame["step"], values, strict=True
        ):
            if name in row:
                table[row[name], place[step]] = value
        return table

    def settled(self) -> Mapping[str, int | None]:
        """When the spectrum of each matrix stopped changing; see `settled_at`."""
        return {name: settled_at(values, self.steps) for name, values in self.changes.items()}


def history_of(run: TrainingRun) -> History:
    """The measured snapshots of a training run.

    Raises:
        ResultError: A file is damaged.
    """
    frame = run.over_time
    if not len(frame):
        return History((), (), {}, frame, {})
    matrices = frame[frame["rows"].notna()] if "rows" in frame else frame
    first = matrices.drop_duplicates("param_name")
    layers = {
        str(name): None if np.isnan(layer) else int(layer)
        for name, layer in zip(
            first["param_name"],
            first["layer_index"].to_numpy(dtype=np.float64, na_value=np.nan),
            strict=True,
        )
    }
    steps = [int(step) for step in frame["step"].unique()]
    return History(steps, list(layers), layers, frame, spectral_changes(run, steps))
