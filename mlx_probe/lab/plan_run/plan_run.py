"""`mlx-probe plan run`: memory, speed and loss of running a model at a few widths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx

from mlx_probe.analysis.forecast.inference import Cache, cache_of
from mlx_probe.analysis.forecast.model import opened
from mlx_probe.checkpoint import Checkpoint
from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.about.facts import context_of
from mlx_probe.lab.device import DeviceName, available_memory, device_label, use_device
from mlx_probe.lab.generate.steps import CHUNK
from mlx_probe.lab.plan_run.advice import advice_for
from mlx_probe.lab.plan_run.quality import Quality, rounding_errors
from mlx_probe.lab.plan_run.rates import Rates, assumed_rates, measure_rates
from mlx_probe.lab.plan_run.records import RunOption, RunPlan, Width
from mlx_probe.lab.plan_run.sizes import ModelSizes, bytes_of, sizes_of

__all__ = ["CONTEXTS", "MLX_WIDTHS", "WIDTHS", "plan_run"]

# Widths of MLX's affine quantization, and 16 for none.
MLX_WIDTHS = (2, 3, 4, 5, 6, 8, 16)
WIDTHS = (16, 8, 6, 4)
CONTEXTS = (4096, 32768)
# What is read of a model to say what rounding costs, unless all of it is asked for.
LAYERS, EXPERTS = "layers=4", "|experts=8"
# Matrices named for each width.
_WORST = 3
# Longer than any model's context.
_LONGEST = 1 << 24


def plan_run(
    model: str,
    *,
    revision: str | None = None,
    widths: Sequence[int] = WIDTHS,
    contexts: Sequence[int] = CONTEXTS,
    memory: int = 0,
    bandwidth: float = 0.0,
    quality: str = "sample",
    device: DeviceName = "auto",
    on_matrix: Callable[[int, int], None] = lambda done, total: None,
) -> RunPlan:
    """Say whether a model fits, how fast it would be, and what fewer bits would cost.

    Args:
        model: See `open_checkpoint`. Of a model that is not on this disk only headers are read.
        revision: See `open_checkpoint`.
        widths: Bits of the matrices: of MLX's affine quantization in groups of 64, or 16.
        contexts: Tokens of prompt and answer.
        memory: Bytes that it may take; 0 for what the device holds.
        bandwidth: Bytes a second of another machine's memory; 0 to measure this one.
        quality: "sample" rounds the matrices of four layers, and of eight experts of each; "all"
            every matrix, "none" none.
        device: Where it would run.
        on_matrix: See `rounding_errors`.

    Raises:
        ConfigError: A width that MLX does not have, or a model without matrices.
        ProbeError: The model cannot be had, or the device is not there.
    """
    if unknown := [bits for bits in widths if bits not in MLX_WIDTHS]:
        known = ", ".join(map(str, MLX_WIDTHS))
        raise ConfigError(f"MLX quantizes to no {unknown[0]} bits", f"Choose among {known}")
    widths = sorted(set(widths), reverse=True)
    gpu = use_device(device).type == mx.gpu
    # On a CPU `mlx-probe generate` computes in float32: see `load_model`.
    other_bytes = 2 if gpu else 4
    with opened(model, revision) as (checkpoint, fetch):
        sizes = sizes_of(checkpoint)
        if not sizes.matrices:
            raise ConfigError(
                f"{model} has no matrix that MLX quantizes",
                "Give a language model; `mlx-probe inspect` lists the tensors",
            )
        dtype = mx.float16 if gpu else mx.float32
        rates = assumed_rates(bandwidth, widths) if bandwidth else measure_rates(widths, dtype)
        limit = memory or available_memory(gpu)
        errors = Quality()
        rounding = [bits for bits in widths if bits < 16]
        if fetch.nbytes and quality != "none":
            errors = Quality(unknown="the weights are not on this machine")
        elif rounding and quality != "none":
            sample = LAYERS + (EXPERTS if sizes.experts else "") if quality == "sample" else ""
            errors = rounding_errors(checkpoint, rounding, sample, on_matrix)
        machine = _Machine(checkpoint, sizes, rates, other_bytes, limit)
        plan_widths = tuple(machine.width(bits, errors) for bits in widths)
        options = tuple(
            machine.option(bits, context) for bits in widths for context in sorted(set(contexts))
        )
        trained = machine.trained
        return RunPlan(
            model=_described(checkpoint, model, sizes),
            device=device_label(),
            memory=limit,
            memory_assumed=bool(memory),
            bandwidth_measured=rates.measured,
            product_seconds=rates.product_seconds,
            trained_context=trained,
            experts=None
            if sizes.experts is None
            else {"active": sizes.active or 0, "of": sizes.experts},
            quality={
                "rounded": len(errors.matrices),
                "of": errors.of,
                "sample": errors.sample,
            },
            widths=plan_widths,
            options=options,
            unknown=_unknown(machine, sizes, errors, bool(rounding)),
            advice=advice_for(model, sizes, plan_widths, options, trained, limit),
        )


class _Machine:
    """Arithmetic of one model on one machine."""

    def __init__(
        self, checkpoint: Checkpoint, sizes: ModelSizes, rates: Rates, other_bytes: int, limit: int
    ) -> None:
        self._sizes, self._rates = sizes, rates
        self._other_bytes, self._limit = other_bytes, limit
        self.cache: Cache = cache_of(checkpoint)
        self.trained = context_of(checkpoint)
        known = checkpoint.architecture
        # Of each token of a prompt that is read at once: its logits, and what a block makes of it.
        self._token_numbers = (
            (known.vocab_size or 0) + 6 * (known.hidden_size or 0) + 3 * (self._inner(known) or 0)
        )
        self._heads = known.heads or 0

    @staticmethod
    def _inner(known: Any) -> int:
        return max(known.intermediate_size or 0, known.moe_intermediate_size or 0)

    def option(self, bits: int, context: int) -> RunOption:
        """A width at a context."""
        weights, cache = self._weights(bits), self._cache(context)
        working = self._working(context)
        total = None if cache is None else weights + cache + working
        return RunOption(
            bits=bits,
            context=context,
            weights=weights,
            cache=cache,
            working=working,
            total=total,
            fits=(False if weights > self._limit else None)
            if total is None
            else total <= self._limit,
            tokens_per_second=self._speed(bits, cache),
        )

    def width(self, bits: int, errors: Quality) -> Width:
        """A width, whatever the context."""
        read = None if self._sizes.unread else round(self._read(bits))
        worst = errors.worst(bits, _WORST) if bits < 16 and errors.matrices else []
        return Width(
            bits=bits,
            weights=self._weights(bits),
            read=read,
            longest=self._longest(bits),
            bandwidth=self._rates.bandwidth[bits],
            error=errors.error(bits),
            worst=tuple((matrix.name, matrix.error(bits)) for matrix in worst),
        )

    def _weights(self, bits: int) -> int:
        return self._sizes.weight_bytes(bits, self._other_bytes)

    def _cache(self, context: int) -> int | None:
        nbytes = self.cache.nbytes(context)
        return None if nbytes is None else nbytes * self._other_bytes // 2

    def _working(self, context: int) -> int:
        """Reading a prompt in passes of `CHUNK` tokens: activations and scores of attention."""
        tokens = min(context, CHUNK)
        return self._other_bytes * tokens * (self._token_numbers + self._heads * context)

    def _read(self, bits: int) -> float:
        sizes = self._sizes
        return sizes.read_matrices * bytes_of(bits, self._other_bytes) + (
            sizes.read_rest * self._other_bytes
        )

    def _speed(self, bits: int, cache: int | None) -> float | None:
        sizes, rates = self._sizes, self._rates
        if sizes.unread or cache is None:
            return None
        plain = sizes.read_rest * self._other_bytes + cache
        packed = sizes.read_matrices * bytes_of(bits, self._other_bytes)
        seconds = packed / rates.bandwidth[bits] + plain / rates.bandwidth[16]
        return 1 / (seconds + sizes.products * rates.product_seconds)

    def _longest(self, bits: int) -> int | None:
        """The longest context that fits, by bisection: memory grows with the context."""

        def fits(context: int) -> bool:
            total = self._weights(bits) + (self._cache(context) or 0) + self._working(context)
            return total <= self._limit

        if self.cache.unknown:
            return None
        low, high = 0, (self.trained or _LONGEST) + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low


def _described(checkpoint: Checkpoint, model: str, sizes: ModelSizes) -> dict[str, Any]:
    return {
        "id": checkpoint.files.model_id or model,
        "revision": checkpoint.files.revision,
        "parameters": sizes.matrices + sizes.rest,
        "bytes": sizes.stored,
        "packed": sizes.packed,
    }


def _unknown(
    machine: _Machine, sizes: ModelSizes, errors: Quality, rounding: bool
) -> tuple[str, ...]:
    reasons = []
    if machine.cache.unknown:
        reasons.append(f"memory at a context: {machine.cache.unknown}")
    if sizes.unread:
        reasons.append(f"tokens a second: {sizes.unread}")
    if errors.unknown and rounding:
        reasons.append(f"cost of rounding: {errors.unknown}")
    return tuple(reasons)
