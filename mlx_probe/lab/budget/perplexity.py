"""How well a text is predicted before and after, and by the uniform choice of the same size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import psutil
from mlx import nn
from mlx.utils import tree_map

from mlx_probe.core.units import format_size
from mlx_probe.lab.budget.matrices import arrays_of
from mlx_probe.lab.budget.records import BudgetPlan
from mlx_probe.lab.budget.tensors import FRAMEWORK
from mlx_probe.lab.device import available_memory
from mlx_probe.lab.evaluate.config import EvaluateConfig
from mlx_probe.lab.evaluate.perplexity import PERPLEXITY
from mlx_probe.lab.export.mlx_layout import convert_lazily, load_lazily
from mlx_probe.lab.generate.loading import LoadedModel, load_model, single
from mlx_probe.lab.tensor_stream import TensorSpec, shards_bytes
from mlx_probe.lab.tensors_file import DTYPES

__all__ = ["Predicted", "TextComparison", "TextConfig", "memory_needed", "uniform_bytes"]

# Of mlx-lm's own uniform quantization.
WIDTHS = (2, 3, 4, 5, 6, 8)
# Logits of one forward pass, as `mlx_probe.lab.evaluate.perplexity` has them, in float32, with
# their exponentials.
_LOGITS = 3 * 4 * (1 << 26)
_MODELS = 3
_MEASURED = ("val_loss", "perplexity", "bits_per_byte", "tokens")


@dataclass(frozen=True)
class TextConfig:
    """The text that models are compared on.

    Attributes:
        source: What `mlx-probe evaluate --data` takes.
        tokens: Tokens to predict, at most; 0 for all.
        context: Tokens that a model sees at most; fewer where its own context is shorter.
    """

    source: str
    tokens: int = 4096
    context: int = 512


@dataclass(frozen=True)
class Predicted:
    """How well one model predicts the text.

    Attributes:
        name: "before", "after" or "uniform".
        bits: Of the uniform quantization; None for the others.
        bytes: Of its files with weights.
        val_loss: Nats of a token.
        perplexity: exp(val_loss).
        bits_per_byte: As of `mlx-probe evaluate`.
        tokens: Tokens that were predicted.
        reason: Why it was not run; "" if it was.
    """

    name: str
    bits: int | None
    bytes: int
    val_loss: float | None = None
    perplexity: float | None = None
    bits_per_byte: float | None = None
    tokens: int = 0
    reason: str = ""


class TextComparison:
    """The model as it was, as it was written, and packed uniformly by mlx-lm, on one text.

    All three run by mlx-lm's classes, on the same tokens. On a CPU they compute in float32, with
    weights that are unpacked: the same numbers, and MLX's packed products take ten times as long
    there.

    Args:
        plan: What is written.
        config: The text.
        on_progress: Called with the tokens that are done, and all of the three.
    """

    def __init__(
        self,
        plan: BudgetPlan,
        config: TextConfig,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._plan, self._config, self._on_progress = plan, config, on_progress
        self._turn = 0
        needed, free = memory_needed(plan), _free_memory()
        self._refused = ""
        if needed > free:
            self._refused = (
                f"it needs {format_size(needed)} of memory, and {format_size(free)} are free"
            )

    def before(self) -> Predicted:
        """The model as it was.

        Raises:
            SourceError: There is no such text.
            CheckpointError: The model predicts NaN.
        """
        row = Predicted("before", None, self._plan.before)
        return self._run(row, lambda: self._loaded(Path(self._plan.folder)))

    def after(self, folder: Path) -> Predicted:
        """The model that was written.

        Args:
            folder: Where.

        Raises:
            CheckpointError: It predicts NaN.
        """
        row = Predicted("after", None, self._plan.after)
        return self._run(row, lambda: self._loaded(folder))

    def uniform(self) -> Predicted:
        """mlx-lm's own quantization at the width whose files are nearest in size.

        Raises:
            CheckpointError: It predicts NaN.
        """
        if any(each.matrix.packed is not None for each in self._plan.chosen):
            why = "the model is packed already: there is no uniform choice of its own weights"
            return Predicted("uniform", None, 0, reason=why)
        bits, nbytes = _nearest_uniform(self._plan)

        def loaded() -> LoadedModel:
            original = self._loaded(Path(self._plan.folder))
            return replace(original, model=_quantized(self._plan, bits))

        return self._run(Predicted("uniform", bits, nbytes), loaded)

    def _loaded(self, folder: Path) -> LoadedModel:
        return load_model(folder, by_mlx_lm=True)

    def _run(self, row: Predicted, load: Callable[[], LoadedModel]) -> Predicted:
        if self._refused:
            return replace(row, reason=self._refused)
        turn, self._turn = self._turn, self._turn + 1

        def progress(done: int, total: int) -> None:
            self._on_progress(turn * total + done, _MODELS * total)

        loaded = _unpacked(load())
        settings = EvaluateConfig(
            context=min(self._config.context, loaded.context or self._config.context),
            max_tokens=self._config.tokens,
            document="chunk",
        )
        values = PERPLEXITY.run(loaded, self._config.source, settings, progress)
        del loaded
        # Before the next one is loaded.
        mx.clear_cache()
        measured: dict[str, Any] = {key: values[key] for key in _MEASURED}
        return replace(row, **measured)


def memory_needed(plan: BudgetPlan) -> int:
    """Bytes that the largest of the three takes while it runs."""
    cpu = mx.default_device().type == mx.cpu
    # `load_model` computes in float32 on a CPU.
    numbers = sum(each.matrix.numel for each in plan.chosen)
    return _LOGITS + (4 * numbers if cpu else plan.before)


def _free_memory() -> int:
    if mx.default_device().type == mx.cpu:
        return int(psutil.virtual_memory().available)
    return available_memory(gpu=True)


def uniform_bytes(plan: BudgetPlan, bits: int) -> int:
    """Bytes of the files with weights of mlx-lm's own quantization.

    Args:
        plan: Its model and type.
        bits: Of every matrix.
    """
    arrays = arrays_of(_quantized(plan, bits))
    specs = [
        TensorSpec(name, DTYPES[array.dtype], tuple(array.shape), array.nbytes)
        for name, array in arrays.items()
    ]
    return shards_bytes(specs, FRAMEWORK)


def _nearest_uniform(plan: BudgetPlan) -> tuple[int, int]:
    """Bits of the uniform quantization whose files are nearest in size, and their bytes."""
    sizes = {bits: uniform_bytes(plan, bits) for bits in WIDTHS}
    bits = min(sizes, key=lambda each: (abs(sizes[each] - plan.after), each))
    return bits, sizes[bits]


def _quantized(plan: BudgetPlan, bits: int) -> nn.Module:
    """The model as `mlx_lm.convert` packs it; nothing is evaluated."""
    model, config = load_lazily(Path(plan.folder), "budget")
    convert_lazily(model, config, None if plan.dtype == "auto" else plan.dtype, bits)
    network: nn.Module = model
    return network


def _unpacked(loaded: LoadedModel) -> LoadedModel:
    """A model as it runs on this device."""
    from mlx_lm.utils import dequantize_model

    model = loaded.model
    if mx.default_device().type == mx.cpu:
        # Scales first, so that codes x scale + bias is computed in float32.
        model.update(tree_map(single, model.parameters()))
        model = dequantize_model(model)
        # The other modes are unpacked to bfloat16, which holds all of their numbers.
        model.update(tree_map(single, model.parameters()))
        model.eval()
    mx.eval(model.parameters())
    return replace(loaded, model=model)
