"""What is read of one model: some rows of its matrices, once, however many models it meets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.block_position import position_of
from mlx_probe.analysis.compare.matching import Named
from mlx_probe.analysis.compare.pair import role_key, rotary_heads
from mlx_probe.analysis.lineage.card import read_card
from mlx_probe.analysis.lineage.positions import BLOCK, chosen, sampled_rows
from mlx_probe.analysis.lineage.records import LineageConfig
from mlx_probe.checkpoint import PLAIN, Checkpoint, Weight
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import ConfigError, PackingError

__all__ = ["Fingerprint", "Sampled", "read_fingerprint"]

# Requests to a server, or reads of a disk, at once.
_READERS = 8
# A vector of so many elements is read whole.
_VECTOR = 1 << 16
# Bytes of a remote weight whose rows are spread over all of them.
_MOST_SPREAD = 1 << 22


def is_token_table(block_type: str) -> bool:
    """Whether the rows of such a weight are tokens, or positions."""
    return "embedding" in block_type or block_type == "output"


@dataclass(frozen=True)
class Sampled:
    """Some rows of one weight.

    Attributes:
        named: What identifies it, for `match_tensors`.
        stack: Name of the stack of blocks that it is in; "" outside all.
        layer: Number of its block; None outside all.
        shape: Of the whole weight.
        rows: Numbers of the sampled rows, ascending; one row for a vector.
        values: float32, shape (rows, cols).
        stored: Type as stored, with the packing, for people.
        bits: Stored bits of an element, scales included.
        packed: Whether it is packed: its values are decoded.
        complete: Whether every element of the weight is in the sample.
    """

    named: Named
    stack: str
    layer: int | None
    shape: tuple[int, ...]
    rows: NDArray[np.intp]
    values: NDArray[np.float32]
    stored: str
    bits: float
    packed: bool
    complete: bool

    @property
    def is_matrix(self) -> bool:
        """Whether it has rows and columns of more than one element."""
        return len(self.shape) > 1 and min(self.values.shape[1], self.shape[0]) > 1

    @property
    def is_token_table(self) -> bool:
        """Whether its rows are tokens."""
        return is_token_table(self.named.block_type)


@dataclass(frozen=True)
class Fingerprint:
    """What is known of a model for comparisons.

    Attributes:
        model: The model's name.
        path: Its folder or file, or its address.
        sampled: Sampled weights, in the model's order.
        left_out: Names of weights that could not be read, and why.
        tensors: Weights of the model, sampled or not.
        parameters: Elements of the model.
        layers: Blocks of its largest stack.
        config: Its config.json.
        metadata: The weight files' own.
        tokens: Texts of its tokens by number; empty where no file says.
        card: Front matter of the model card beside the weights; empty where there is none.
        complete: Whether every element of every weight is sampled.
        read_bytes: Bytes of its weight files that were read, as stored.
        fetched_bytes: Bytes that came over the network, headers included; 0 for local files.
        total_bytes: Bytes of its weights as stored.
        settings: How it was sampled.
    """

    model: str
    path: str
    sampled: tuple[Sampled, ...]
    left_out: Mapping[str, str]
    tensors: int
    parameters: int
    layers: int
    config: Mapping[str, Any]
    metadata: Mapping[str, Any]
    tokens: tuple[str, ...]
    card: Mapping[str, Any]
    complete: bool
    read_bytes: int
    fetched_bytes: int
    total_bytes: int
    settings: LineageConfig

    @property
    def bases(self) -> frozenset[str]:
        """Names of the models that the model card calls its bases, in small letters."""
        named = self.card.get("base_model")
        names = named if isinstance(named, list) else [named]
        return frozenset(name.strip().lower() for name in names if isinstance(name, str))


def read_fingerprint(checkpoint: Checkpoint, config: LineageConfig | None = None) -> Fingerprint:
    """Read the sample of a model, from this disk or by ranges from its server.

    Args:
        checkpoint: The model, opened; it may be remote (``open_checkpoint(..., remote=True)``).
        config: How much is read.

    Raises:
        ConfigError: It is an adapter, which has no weights of a model.
        SourceError: A remote file cannot be read.
        CheckpointError: A file is gone or changed, or no tensor of it can be read.
    """
    settings = config or LineageConfig()
    files = checkpoint.files
    if checkpoint.adapter is not None:
        raise ConfigError(
            f"{files.model_id} is an adapter, and lineage compares models",
            "Merge it first: mlx-probe merge BASE ADAPTER --out FOLDER",
        )
    remote = files.is_remote
    weights = checkpoint.remote_weights() if remote else checkpoint.weights()
    wanted = _wanted(weights, checkpoint, settings)
    left_out: dict[str, str] = {}
    sampled: list[Sampled] = []
    read = 0
    with ThreadPoolExecutor(_READERS if remote else 1) as pool:
        futures = [
            (weight, rows, pool.submit(_read, weight, rows, checkpoint, remote))
            for weight, rows in wanted
        ]
        for weight, rows, future in futures:
            try:
                values = future.result()
            except PackingError as error:
                left_out[weight.label] = error.fact
                continue
            if not np.isfinite(values).all():
                left_out[weight.label] = "NaN or Inf in it"
                continue
            sampled.append(_sampled(weight, rows, values))
            read += weight.nbytes * values.size // max(weight.numel, 1)
    if not sampled:
        why = next(iter(left_out.values()), "it has no weights of numbers")
        raise ConfigError(
            f"{files.model_id}: nothing of it can be compared: {why}", "Name another model"
        )
    whole = [weight for weight in weights if weight.part is None]
    fused = {weight.name for weight in weights if weight.part is not None}
    complete = all(each.complete for each in sampled) and not left_out
    readable = [w for w in weights if not (w.part is None and w.name in fused)]
    opener = files.opener
    return Fingerprint(
        model=files.model_id,
        path=str(files.path),
        sampled=tuple(sampled),
        left_out=left_out,
        tensors=len(whole),
        parameters=sum(weight.numel for weight in whole),
        layers=_layers(weights),
        config=checkpoint.config,
        metadata=checkpoint.metadata,
        tokens=checkpoint.tokens(),
        card={} if remote else read_card(files.weights[0].parent),
        complete=complete and len(sampled) == len(readable),
        read_bytes=read,
        fetched_bytes=0 if opener is None else opener.fetched,
        total_bytes=sum(weight.nbytes for weight in whole),
        settings=settings,
    )


def _layers(weights: Sequence[Weight]) -> int:
    stacks: dict[str, set[int]] = {}
    for weight in weights:
        stack, layer = position_of(weight)
        if layer is not None:
            stacks.setdefault(stack, set()).add(layer)
    return max(map(len, stacks.values()), default=0)


def _wanted(
    weights: Sequence[Weight], checkpoint: Checkpoint, settings: LineageConfig
) -> list[tuple[Weight, NDArray[np.intp]]]:
    """The weights that are sampled, with the rows of each."""
    numbers = [n for _, n in map(position_of, weights) if n is not None]
    layers = chosen(numbers, settings.layers, settings.seed)
    deep = chosen(layers, settings.deep_layers, settings.seed)
    known = [w.expert_index for w in weights if w.expert_index is not None]
    experts = chosen(known, settings.experts, settings.seed)
    fused = {weight.name for weight in weights if weight.part is not None}
    wanted = []
    for weight in weights:
        _, layer = position_of(weight)
        if weight.part is None and weight.name in fused:
            continue  # its parts are there as well
        if not weight.shape or not weight.numel:
            continue
        if weight.problem is None and DTYPES[weight.chunk_dtype].kind != "float":
            continue
        if layer is not None and layer not in layers:
            continue
        if weight.expert_index is not None and weight.expert_index not in experts:
            continue
        rows = _rows(weight, layer in deep, settings)
        if rows is not None:
            wanted.append((weight, rows))
    return wanted


def _rows(weight: Weight, deep: bool, settings: LineageConfig) -> NDArray[np.intp] | None:
    rows, cols = weight.extents
    if weight.rows is None:
        return np.arange(1) if cols <= _VECTOR else None
    count = max(BLOCK, settings.elements // cols)
    if is_token_table(weight.role.block_type):
        count = max(count, settings.token_rows)
    elif deep:
        count = max(count, settings.deep_rows)
    return sampled_rows(rows, count, settings.seed)


def _read(
    weight: Weight, rows: NDArray[np.intp], checkpoint: Checkpoint, remote: bool
) -> NDArray[np.float32]:
    """The values of some rows, in transformers' order of rows.

    Raises:
        PackingError: They cannot be read.
    """
    if weight.problem is not None:
        raise PackingError(weight.problem)
    stored = weight.parameter.pieces[0].nbytes
    if remote and not weight.parameter.row_major and stored > _MOST_SPREAD:
        raise PackingError(
            f"{weight.name}: its packing spreads rows over all of {stored} bytes, "
            "which is too much over the network"
        )
    if weight.rows is None:
        return _float32(weight.block(0, weight.numel)[None])
    head = rotary_heads(weight, checkpoint)
    parts = []
    for block in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        where = block
        if head:
            # llama.cpp stores the two rotary halves of a head interleaved.
            half, within = np.divmod(block % head, head // 2)
            where = block - block % head + 2 * within + half
        first = int(where.min())
        parts.append(weight.block(first, int(where.max()) + 1)[where - first])
    return _float32(np.concatenate(parts))


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)


def _sampled(weight: Weight, rows: NDArray[np.intp], values: NDArray[np.float32]) -> Sampled:
    label = weight.name, weight.stack_index, weight.part.name if weight.part else None
    role, parameter = role_key(weight), weight.parameter
    stack, layer = position_of(weight)
    return Sampled(
        named=Named(weight.name, label, role, weight.role.block_type),
        stack=stack,
        layer=layer,
        shape=weight.shape,
        rows=rows,
        values=values,
        stored=parameter.stored_as,
        bits=8 * parameter.nbytes / max(parameter.numel, 1),
        packed=parameter.packing != PLAIN,
        complete=len(rows) == weight.extents[0],
    )
