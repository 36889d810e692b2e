"""An adapter of mlx-lm in PEFT's form: adapter_model.safetensors and adapter_config.json.

Both add the product of two small factors to a weight, and DoRA's norms alike; the factors of
mlx-lm are transposed, and its scale is PEFT's alpha divided by the rank.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint import ADAPTERS, Checkpoint, Weight, open_checkpoint
from mlx_probe.checkpoint.adapters.names import PEFT_PREFIX
from mlx_probe.checkpoint.adapters.protocol import Module
from mlx_probe.checkpoint.adapters.reading import sort_pieces
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.core.files import write_error
from mlx_probe.lab.adapter_folder import find_adapter_folder
from mlx_probe.lab.elements import read_elements
from mlx_probe.lab.export.peft_config import peft_config
from mlx_probe.lab.export.protocol import Exported
from mlx_probe.lab.tensor_stream import StoredTensor, write_stream
from mlx_probe.lab.whole_folder import require_empty, whole_folder
from mlx_probe.source import resolve

__all__ = ["export_peft"]

_TYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}


def export_peft(
    reference: str,
    out: Path,
    kind: str = "auto",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write an adapter of mlx-lm as one of PEFT; see `Export`.

    Args:
        reference: An adapter's folder, or a tuning run's.
        out: A folder, empty or not there.
        kind: "auto", "f32", "f16" or "bf16".
        on_progress: See `Export`.

    Raises:
        SourceError: The adapter cannot be had.
        CheckpointError: It is none of mlx-lm's, or PEFT has no form for it.
        ConfigError: The type is none of these, or does not hold the numbers.
        ResultError: The disk refused.
    """
    if kind not in ("auto", *_TYPES):
        raise ConfigError(f"--to peft writes no {kind}", f"Choose auto, {', '.join(_TYPES)}")
    require_empty(out)
    with open_checkpoint(resolve(str(find_adapter_folder(reference)))) as checkpoint:
        modules = _modules(checkpoint)
        ranks = {module.name: _rank(checkpoint, module) for module in modules}
        tensors = [
            tensor
            for module in modules
            for tensor in _tensors(checkpoint, module, _TYPES.get(kind), on_progress)
        ]
        config = _config(checkpoint, ranks)
        try:
            with whole_folder(out) as new:
                write_stream(new / "adapter_model.safetensors", tensors)
                text = json.dumps(config, indent=2) + "\n"
                (new / "adapter_config.json").write_text(text, "utf-8")
        except OSError as error:
            raise write_error(out, error) from error
        assert checkpoint.adapter is not None
        name = checkpoint.adapter.kind
    total = sum(tensor.nbytes for tensor in tensors)
    on_progress(total, total)
    return Exported(
        model=reference,
        file=out,
        type=kind if kind != "auto" else tensors[0].dtype.lower(),
        architecture=name,
        parameters=sum(int(np.prod(tensor.shape)) for tensor in tensors),
        tensors=len(tensors),
        bytes=total,
        tokenizer=None,
        vocabulary=None,
        notes=(),
    )


def _modules(checkpoint: Checkpoint) -> list[Module]:
    """What the adapter stores for each module; all of it has a form in PEFT."""
    path, adapter = checkpoint.files.path, checkpoint.adapter
    if adapter is None or adapter.layout != "mlx-lm" or adapter.kind not in ("lora", "dora"):
        said = "no adapter" if adapter is None else f"an adapter ({adapter.kind}, {adapter.layout})"
        raise CheckpointError(
            f"{path} is {said}, not LoRA or DoRA of mlx-lm",
            "Give the folder that `mlx_lm.lora` or `mlx-probe tune` wrote; a fully tuned model "
            "needs no adapter",
        )
    if adapter.scale is None:
        raise CheckpointError(
            f"{path}: adapter_config.json says no scale", "Write lora_parameters.scale into it"
        )
    modules, whole = sort_pieces(ADAPTERS["lora"], checkpoint.vectors())
    if whole:
        raise _no_form(path, whole[0].name, "it is no factor of a LoRA")
    for module in modules:
        if module.unknown:
            raise _no_form(path, module.unknown[0], "it is not known")
        for piece in ("lora_a", "lora_b"):
            if piece not in module.pieces:
                raise _no_form(path, module.name, f"it has no {piece}")
            if len(module.pieces[piece].shape) != 2:
                raise _no_form(path, module.pieces[piece].name, "it is a stack of experts")
        if "m" in module.pieces and _is_table(module):
            raise _no_form(path, module.pieces["m"].name, "DoRA of an embedding differs in PEFT")
    return modules


def _no_form(path: Path, name: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {name} has no form in PEFT: {reason}",
        "Merge the adapter into its base: `mlx-probe merge BASE ADAPTER --out DIR`",
    )


def _is_table(module: Module) -> bool:
    return module.name.rpartition(".")[2] in ("embed_tokens", "wte", "tok_embeddings")


def _rank(checkpoint: Checkpoint, module: Module) -> int:
    first, second = (module.pieces[piece].shape for piece in ("lora_a", "lora_b"))
    if first[1] != second[0]:
        raise _no_form(checkpoint.files.path, module.name, "the shapes of its factors do not fit")
    return first[1]


def _tensors(
    checkpoint: Checkpoint,
    module: Module,
    dtype: str | None,
    on_progress: Callable[[int, int], None],
) -> list[StoredTensor]:
    prefix = f"{PEFT_PREFIX}{module.name}."
    # The table of an embedding is looked up, so its first factor has the rows of the table.
    names = {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight", "m": "lora_magnitude_vector"}
    if _is_table(module):
        names |= {"lora_a": "lora_embedding_A", "lora_b": "lora_embedding_B"}
    return [
        _turned(prefix + names[piece], weight, dtype or weight.chunk_dtype)
        for piece, weight in module.pieces.items()
    ]


def _turned(name: str, weight: Weight, dtype: str) -> StoredTensor:
    """A factor transposed; a vector as it is."""
    shape = tuple(reversed(weight.shape))

    def data() -> list[memoryview]:
        elements: NDArray[Any] = read_elements(weight, dtype).reshape(weight.shape)
        turned: Any = np.ascontiguousarray(elements.T)
        return [memoryview(turned).cast("B")]

    size = weight.numel * DTYPES[dtype].itemsize
    return StoredTensor(name, dtype, shape, size, data)


def _config(checkpoint: Checkpoint, ranks: dict[str, int]) -> dict[str, Any]:
    adapter, config = checkpoint.adapter, checkpoint.config
    assert adapter is not None
    assert adapter.scale is not None
    parameters = config.get("lora_parameters")
    dropout = parameters.get("dropout", 0.0) if isinstance(parameters, dict) else 0.0
    return peft_config(
        ranks, adapter.scale, adapter.base_model, dora=adapter.kind == "dora", dropout=dropout
    )
