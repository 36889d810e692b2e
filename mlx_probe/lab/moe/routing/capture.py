"""What the experts of a mixture do while it reads: chosen ones, their weights, their outputs.

Families differ in how their routers choose and weigh. All that is used here is that a block adds
up weighted outputs of its experts, and perhaps something else: y = sum over k of w_k o_k + rest.
The weights are read off the block itself, which runs again with other outputs in place of the
experts': with zeros it gives the rest, with unit vectors o_k = e_k the rest plus w_k at place k. A
block whose output is not that sum is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.lab.moe.gate.mixture import GatedMixture
from mlx_probe.lab.moe.routing.blocks import Block, find_blocks

__all__ = ["BlockRun", "watched_mixtures"]

# Largest difference of a block's output from the weighted sum, over the norms of what is added.
_TOLERANCES = {mx.float32: 2e-5, mx.float16: 4e-3, mx.bfloat16: 2e-2}
# Numbers of outputs of a mixture that computes all of its experts, at a time.
_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class BlockRun:
    """What a mixture did with some tokens.

    Attributes:
        block: The mixture.
        inputs: What it was given, (T, dim).
        indices: Experts that were computed, (T, K).
        weights: By which their outputs were multiplied, (T, K).
        active: Which of them count as chosen, (T, K): all, but for those of weight 0 where a block
            computes experts that it does not use.
        outputs: Of the experts, (T, K, dim), float32.
    """

    block: Block
    inputs: mx.array
    indices: NDArray[np.int32]
    weights: NDArray[np.float32]
    active: NDArray[np.bool_]
    outputs: NDArray[np.float32]


OnRun = Callable[[BlockRun], None]


@contextmanager
def watched_mixtures(model: nn.Module, name: str, on_run: OnRun) -> Iterator[tuple[Block, ...]]:
    """Show what each mixture does whenever the model runs; it computes the same numbers.

    Args:
        model: See `find_blocks`. It is as before at the end.
        name: What messages call it.
        on_run: Called by each block in turn. What it is given need not be kept.

    Yields:
        The mixtures.

    Raises:
        ConfigError: There is no mixture; or, while the model runs, one is not understood.
        CheckpointError: While the model runs: its numbers are not finite.
    """
    blocks = find_blocks(model, name)
    try:
        for block in blocks:
            block.holder[block.key] = _WatchedBlock(block, on_run)
        yield blocks
    finally:
        for block in blocks:
            block.holder[block.key] = block.module


class _WatchedBlock(nn.Module):
    """A mixture that shows what its experts did."""

    def __init__(self, block: Block, on_run: OnRun) -> None:
        super().__init__()
        self.inner = block.module
        self._block, self._on_run = block, on_run

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        block = self._block
        if isinstance(block.module, GatedMixture):
            result = self.inner(*inputs, **settings)
            for run in _gated(block, block.module, inputs[0], result):
                self._on_run(run)
            return result
        watched = _WatchedExperts(block.module[block.experts_key])
        block.module[block.experts_key] = watched
        try:
            result = self.inner(*inputs, **settings)
            if watched.indices is None or watched.outputs is None:
                raise _not_understood(block, "it does not call its experts")

            def instead(outputs: mx.array) -> mx.array:
                watched.instead = outputs
                again: mx.array = self.inner(*inputs, **settings)
                return again.reshape(-1, again.shape[-1])

            run = _read(block, inputs[0], watched.indices, watched.outputs, result, instead)
        finally:
            block.module[block.experts_key] = watched.inner
        self._on_run(run)
        return result


class _WatchedExperts:
    """Experts that keep what they were asked and said, and say `instead` where it is set."""

    def __init__(self, inner: nn.Module) -> None:
        self.inner = inner
        self.indices: mx.array | None = None
        self.outputs: mx.array | None = None
        self.instead: mx.array | None = None

    def __call__(self, x: mx.array, indices: mx.array) -> mx.array:
        if self.instead is not None:
            return self.instead
        self.indices, self.outputs = indices, self.inner(x, indices)
        return self.outputs

    def __getattr__(self, key: str) -> Any:
        # Some blocks read more of their experts than what they say.
        return getattr(self.inner, key)


def _read(
    block: Block,
    inputs: mx.array,
    indices: mx.array,
    outputs: mx.array,
    result: mx.array,
    instead: Callable[[mx.array], mx.array],
) -> BlockRun:
    count, dim = outputs.shape[-2:]
    rest = _numbers(instead(mx.zeros_like(outputs)))
    said = _numbers(outputs).reshape(-1, count, dim)
    found = _numbers(result).reshape(-1, result.shape[-1])
    if found.shape != (said.shape[0], dim):
        raise _not_understood(block, "it changes the sum of its experts' outputs")
    with np.errstate(invalid="ignore", over="ignore"):
        weights = _weights(outputs, rest, instead)
        _check_sum(block, outputs.dtype, found, said, weights, rest)
    chosen = np.array(indices).reshape(-1, count).astype(np.int32)
    return BlockRun(
        block=block,
        inputs=inputs.reshape(-1, inputs.shape[-1]),
        indices=chosen,
        weights=weights,
        active=_active(block, chosen, weights),
        outputs=said,
    )


def _gated(
    block: Block, mixture: GatedMixture, inputs: mx.array, result: mx.array
) -> Iterator[BlockRun]:
    """What a mixture with a gate of ours did: it computes all experts at once, not by name.

    Some tokens at a time: there are outputs of all experts.
    """
    dim = inputs.shape[-1]
    tokens, found = inputs.reshape(-1, dim), _numbers(result).reshape(-1, dim)
    step = max(1, _AT_ONCE // (block.experts * dim))
    for first in range(0, len(tokens), step):
        part = tokens[first : first + step]
        weights, active = mixture.weighed(part)
        indices = mx.broadcast_to(mx.arange(block.experts), weights.shape)
        outputs = mixture.switch_mlp(part, indices)
        said, by = _numbers(outputs), _numbers(weights)
        rest = np.zeros((len(part), dim), np.float32)
        _check_sum(block, outputs.dtype, found[first : first + step], said, by, rest)
        chosen = np.array(indices).astype(np.int32)
        yield BlockRun(block, part, chosen, by, np.array(active), said)


def _check_sum(
    block: Block,
    kind: mx.Dtype,
    found: NDArray[np.float32],
    outputs: NDArray[np.float32],
    weights: NDArray[np.float32],
    rest: NDArray[np.float32],
) -> None:
    """Refuse a block whose output is not the weighted sum of its experts' and the rest."""
    if not np.isfinite(found).all():
        raise CheckpointError(
            f"{block.name} gives numbers that are not finite",
            "Look for weights that are not finite with `mlx-probe analyze`",
        )
    # Not `>`: a block that divides by the norm of zeros gives NaN.
    off = _difference(found, outputs, weights, rest)
    if not off <= _TOLERANCES.get(kind, _TOLERANCES[mx.float32]):
        raise _not_understood(block, "it does more than to weigh and add its experts' outputs")


def _weights(
    outputs: mx.array, rest: NDArray[np.float32], instead: Callable[[mx.array], mx.array]
) -> NDArray[np.float32]:
    """By what a block multiplies the output of each of its K experts, (T, K)."""
    count, dim = outputs.shape[-2:]
    # Large, so that the rest takes none of a weight's digits; a power of two, so that nothing is
    # rounded.
    scale = 2.0**8 if outputs.dtype == mx.float16 else 2.0**20
    parts = []
    for first in range(0, count, dim):
        width = min(dim, count - first)
        units = np.zeros((count, dim), np.float32)
        units[first + np.arange(width), np.arange(width)] = scale
        found = instead(mx.broadcast_to(mx.array(units).astype(outputs.dtype), outputs.shape))
        parts.append((_numbers(found)[:, :width] - rest[:, :width]) / np.float32(scale))
    return np.concatenate(parts, axis=1)


def _difference(
    found: NDArray[np.float32],
    outputs: NDArray[np.float32],
    weights: NDArray[np.float32],
    rest: NDArray[np.float32],
) -> float:
    """How far a block's output is from the weighted sum and the rest, of the worst token.

    As a share of the norms of what is added: the sum itself may be near zero.
    """
    wanted = np.einsum("tk,tkd->td", weights, outputs) + rest
    norms = np.sqrt(np.einsum("tkd,tkd->tk", outputs, outputs))
    size = (np.abs(weights) * norms).sum(1) + np.linalg.norm(rest, axis=1)
    off = np.linalg.norm(found - wanted, axis=1)
    return float((off / np.maximum(size, np.finfo(np.float32).tiny)).max())


def _active(
    block: Block, indices: NDArray[np.int32], weights: NDArray[np.float32]
) -> NDArray[np.bool_]:
    count = indices.shape[1]
    # LongCat replaces identity experts by expert 0 with the weight 0; a gate that computes all
    # experts has the weight 0 for those that it leaves out.
    if getattr(block.module, "zero_expert_num", 0) or count == block.experts:
        return weights != 0
    return np.ones(indices.shape, bool)


def _numbers(array: mx.array) -> NDArray[np.float32]:
    return np.array(array.astype(mx.float32))


def _not_understood(block: Block, why: str) -> ConfigError:
    module = type(block.module)
    kind = module.__module__.rpartition(".")[-1]
    return ConfigError(
        f"{block.name} is a {module.__name__} of {kind}, which is not understood: {why}",
        "Use `mlx-probe moe stats` without --data: it needs no run",
    )
