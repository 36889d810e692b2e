"""A run of signals of a mixture, as reports show it: read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.records import Column
from mlx_probe.runs.load import locate_run
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.mixture.read import read_arrays, read_parquet
from mlx_probe.runs.mixture.signals import (
    EXPERT_COLUMNS,
    EXPERTS,
    KIND,
    SPS,
    TOKEN_COLUMNS,
    TOKENS,
    WINDOW_COLUMNS,
    WINDOWS,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["SignalsData", "load_signals"]

_AGAIN = "Run `mlx-probe moe signals` again with the same --out"


@dataclass(frozen=True, repr=False)
class SignalsData:
    """A finished run of `moe signals`.

    Attributes:
        folder: Where it is.
        meta: Run metadata.
        windows: A row for each window of the text.
        experts: A row for each expert of each layer; None if the run has none.
        tokens: The tokens of `each`; None if the run has none.
        sps: The map, summed over all tokens, (layers, blocks); None if the run has none.
        each: The map of each of `tokens`, (tokens, layers, blocks); the same.
    """

    folder: Path
    meta: Mapping[str, Any]
    windows: pd.DataFrame
    experts: pd.DataFrame | None = None
    tokens: pd.DataFrame | None = None
    sps: NDArray[np.float32] | None = None
    each: NDArray[np.float32] | None = None

    @property
    def name(self) -> str:
        """Of the model."""
        model = self.meta.get("model")
        known = model.get("id") if isinstance(model, Mapping) else model
        return str(known or self.folder.name)

    def columns(self, table: str) -> tuple[Column, ...]:
        """What is known of the columns of a table."""
        known = {WINDOWS: WINDOW_COLUMNS, EXPERTS: EXPERT_COLUMNS, TOKENS: TOKEN_COLUMNS}
        return known[table]


def load_signals(run: str | os.PathLike[str]) -> SignalsData:
    """Read a run of `moe signals`.

    Args:
        run: Its folder, its run_meta.json, or one of its tables.

    Raises:
        ResultError: There is no such run, or its files are damaged.
    """
    path = locate_run(Path(run))
    meta = read_meta(path)
    if meta.get("kind") != KIND:
        raise ResultError(
            f"{path} is of the kind {meta.get('kind')!r}, and has no signals",
            "Name the --out of `mlx-probe moe signals`",
        )
    found = {name: read_parquet(path, f"{name}.parquet") for name in (WINDOWS, EXPERTS, TOKENS)}
    frames = {name: frame for name, frame in found.items() if frame is not None and len(frame)}
    if WINDOWS not in frames:
        raise ResultError(f"{path} has no row of a window", _AGAIN)
    arrays = read_arrays(path, SPS)
    data = SignalsData(
        path.parent,
        meta,
        frames[WINDOWS],
        frames.get(EXPERTS),
        frames.get(TOKENS),
        arrays.get("sps"),
        arrays.get("sps_tokens"),
    )
    _refuse_shapes(path, data)
    return data


def _refuse_shapes(path: Path, data: SignalsData) -> None:
    tokens = 0 if data.tokens is None else len(data.tokens)
    fits = data.sps is None or data.sps.ndim == 2
    if data.each is not None:
        fits = fits and data.sps is not None and data.each.shape == (tokens, *data.sps.shape)
    if not fits:
        raise ResultError(f"{path.with_name(SPS)} does not have the shapes of its tables", _AGAIN)
