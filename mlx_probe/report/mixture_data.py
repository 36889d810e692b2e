"""A run that describes a mixture of experts, as reports show it: read once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlx_probe.core.errors import ResultError
from mlx_probe.core.language import tr
from mlx_probe.core.records import Column
from mlx_probe.report.numbers import floats
from mlx_probe.runs.folder import stem_of
from mlx_probe.runs.load import locate_run, read_listed, to_frame
from mlx_probe.runs.load_side import read_side_table
from mlx_probe.runs.meta import columns_from_meta, read_meta
from mlx_probe.runs.mixture.folder import EXPERTS, KIND, LAYERS, MAPS, ROUTING
from mlx_probe.runs.mixture.read import read_arrays, read_parquet
from mlx_probe.runs.mixture.routing import ROUTED_EXPERT_COLUMNS, ROUTED_LAYER_COLUMNS

__all__ = ["EXPERT", "LAYER", "LOAD", "MixtureData", "load_mixture", "measured_columns"]

# Columns with the numbers of a row's layer and expert, and with the share of a layer's
# assignments that an expert got.
LAYER, EXPERT, LOAD = "layer_index", "expert_index", "load"
_STACK = "stack"
# Columns that lead.
_FIRST = (LOAD, "load_gini")
_ROUTED = ("token", "layer", "text", "experts", "weights")
_AGAIN = "Run `mlx-probe moe stats` again with the same --out"


@dataclass(frozen=True, repr=False)
class MixtureData:
    """A finished run of `moe stats`.

    Attributes:
        folder: Where it is.
        meta: Run metadata.
        experts: A row for each expert of each layer.
        layers: A row for each layer.
        columns: What is known of the columns of both, by the table's name.
        maps: Arrays of `MAPS` by name; the first axis is the rows of `layers`. None where experts
            are missing in a layer, so that places are no numbers.
        routing: A row for each token and layer; None if no text was routed.
    """

    folder: Path
    meta: Mapping[str, Any]
    experts: pd.DataFrame
    layers: pd.DataFrame
    columns: Mapping[str, tuple[Column, ...]]
    maps: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    routing: pd.DataFrame | None = None

    @property
    def name(self) -> str:
        """Of the model."""
        model = self.meta.get("model")
        known = model.get("id") if isinstance(model, Mapping) else model
        return str(known or self.folder.name)

    @property
    def tokens(self) -> int | None:
        """Tokens that the mixture read; None if it was not run."""
        found = self.meta.get("tokens")
        return found if isinstance(found, int) else None

    @property
    def count(self) -> int:
        """Experts of a layer; the most, where layers differ."""
        return int(self.experts[EXPERT].max()) + 1

    @property
    def labels(self) -> list[str]:
        """What the rows of `layers` are called; a number alone where that is enough."""
        keys = _keys(self.layers)
        several = len({stack for stack, _ in keys}) > 1
        return [f"{stack} {layer}" if several else str(layer) for stack, layer in keys]

    @property
    def places(self) -> list[int]:
        """For each row of `experts` the row of `layers`."""
        at = {key: place for place, key in enumerate(_keys(self.layers))}
        return [at[key] for key in _keys(self.experts)]


def load_mixture(run: str | os.PathLike[str]) -> MixtureData:
    """Read a run of `moe stats`.

    Args:
        run: Its folder, its run_meta.json, or one of its tables.

    Raises:
        ResultError: There is no such run, or its files are damaged.
    """
    path = locate_run(Path(run))
    meta = read_meta(path)
    if meta.get("kind") != KIND:
        raise ResultError(
            f"{path} is of the kind {meta.get('kind')!r}, and describes no mixture",
            "Name the --out of `mlx-probe moe stats`",
        )
    frames: dict[str, pd.DataFrame] = {}
    columns: dict[str, tuple[Column, ...]] = {}
    for name, needed in ((EXPERTS, (LAYER, EXPERT)), (LAYERS, (LAYER,))):
        table = read_side_table(path, name)
        if table is not None:
            known = columns_from_meta(meta["tables"][name])
        elif name == EXPERTS or stem_of(path) == name:
            # The main table of the run.
            table, known = read_listed(path, meta)
        else:
            raise ResultError(f"{path} lists no table {name}", _AGAIN)
        texts = {column.name: column for column in _described(name)}
        columns[name] = tuple(_titled(texts.get(column.name, column)) for column in known)
        frames[name] = to_frame(table)
        if lacking := [column for column in needed if column not in frames[name]]:
            raise ResultError(f"{path} describes a table without {lacking[0]}", _AGAIN)
    experts, layers = frames[EXPERTS], frames[LAYERS]
    if set(_keys(experts)) != set(_keys(layers)) or not len(layers):
        raise ResultError(f"{path}: the tables of experts and layers have other layers", _AGAIN)
    data = MixtureData(path.parent, meta, experts, layers, columns)
    return replace(data, maps=_maps(path, data), routing=_routing(path))


def _described(table: str) -> tuple[Column, ...]:
    """What this version knows of the columns of a table."""
    # They bring all that measures experts with them.
    from mlx_probe.analysis.mixture.columns import EXPERT_COLUMNS, LAYER_COLUMNS

    if table == EXPERTS:
        return (*EXPERT_COLUMNS, *ROUTED_EXPERT_COLUMNS)
    return (*LAYER_COLUMNS, *ROUTED_LAYER_COLUMNS)


def _titled(column: Column) -> Column:
    """The columns that every panel speaks of have a title, also in old runs."""
    titles = {LAYER: tr("Layer"), EXPERT: tr("Expert")}
    return replace(column, title=column.title or titles.get(column.name, ""))


def measured_columns(frame: pd.DataFrame) -> list[str]:
    """Columns of numbers in which at least one row has one; those that number rows left out.

    What is said of loads comes first, then what else a text says, and last what is the same in all
    rows.
    """
    routed = {column.name for column in (*ROUTED_EXPERT_COLUMNS, *ROUTED_LAYER_COLUMNS)}
    names = [
        str(name)
        for name in frame.columns
        if name not in _ROUTED
        and not str(name).endswith("_index")
        and pd.api.types.is_numeric_dtype(frame[name])
        and not np.isnan(floats(frame, name)).all()
    ]

    def place(name: str) -> tuple[bool, bool, bool]:
        return frame[name].nunique(dropna=False) < 2, name not in _FIRST, name not in routed

    return sorted(names, key=place)


def _keys(frame: pd.DataFrame) -> list[tuple[str, int]]:
    """Stack and number of each row's layer."""
    stacks: Sequence[Any] = frame[_STACK].tolist() if _STACK in frame else [""] * len(frame)
    return [
        (str(stack), -1 if pd.isna(layer) else int(layer))
        for stack, layer in zip(stacks, frame[LAYER], strict=True)
    ]


def _maps(path: Path, data: MixtureData) -> dict[str, NDArray[np.float32]]:
    counted = data.experts.groupby(np.asarray(data.places))[EXPERT]
    if (counted.max() + 1 != counted.size()).any():
        return {}
    arrays = read_arrays(path, MAPS)
    for name, array in arrays.items():
        if array.ndim != 3 or array.shape[:2] != (len(data.layers), data.count):
            raise ResultError(
                f"{path.with_name(MAPS)}: {name} has the shape {array.shape}, and there are "
                f"{len(data.layers)} layers of {data.count} experts",
                _AGAIN,
            )
    return arrays


def _routing(path: Path) -> pd.DataFrame | None:
    frame = read_parquet(path, ROUTING)
    if frame is not None and (lacking := set(_ROUTED) - set(frame.columns)):
        raise ResultError(f"{path.with_name(ROUTING)} has no column {min(lacking)}", _AGAIN)
    return frame
