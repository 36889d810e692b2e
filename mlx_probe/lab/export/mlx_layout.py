"""A model in mlx-lm's layout, packed by MLX: what `mlx_lm.convert` makes of it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.core.files import write_error
from mlx_probe.lab.data.tokenizer import TOKENIZER_FILES
from mlx_probe.lab.export.protocol import Exported
from mlx_probe.lab.generate.folder import find_model_folder, tokenizer_folder
from mlx_probe.lab.whole_folder import require_empty, whole_folder

__all__ = ["BIT_TYPES", "FLOAT_TYPES", "GROUP", "convert_lazily", "export_mlx", "load_lazily"]

# By the value of --type: MLX's name.
FLOAT_TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
# By the same: bits of a number; `--bits 4` is the type 4bit.
BIT_TYPES = {f"{bits}bit": bits for bits in (2, 3, 4, 5, 6, 8)}
# Numbers that share a scale and a bias: mlx-lm's own choice.
GROUP = 64


def export_mlx(
    reference: str,
    out: Path,
    kind: str = "auto",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write a model as mlx-lm does; see `Export`.

    mlx-lm's own functions load, pack and write it, so that the tensors are those of
    `mlx_lm.convert`.

    Args:
        reference: See `Export`.
        out: A folder, empty or not there.
        kind: Key of `BIT_TYPES` or `FLOAT_TYPES`, or "auto" for the type of config.json.
        on_progress: See `Export`.

    Raises:
        SourceError: The model or its tokenizer cannot be had.
        CheckpointError: It is damaged, or packed already.
        ConfigError: The type is none of these, or mlx-lm is not there or does not know the model.
        ResultError: The disk refused.
    """
    if kind not in ("auto", *FLOAT_TYPES, *BIT_TYPES):
        known = ", ".join((*FLOAT_TYPES, *BIT_TYPES))
        raise ConfigError(f"--to mlx writes no {kind}", f"Choose auto, {known}")
    folder = find_model_folder(reference)
    tokens = tokenizer_folder(folder)
    require_empty(out)
    model, config = load_lazily(folder)
    if kind in BIT_TYPES and ("quantization" in config or "quantization_config" in config):
        raise CheckpointError(
            f"{folder} is packed already", "Give the model with its original weights"
        )
    dtype = FLOAT_TYPES.get(kind) or config.get("torch_dtype") or config.get("dtype")
    config = convert_lazily(model, config, dtype, BIT_TYPES.get(kind))
    try:
        with whole_folder(out) as new:
            _write(model, config, new)
            for name in (*TOKENIZER_FILES, "generation_config.json"):
                source = folder if name == "generation_config.json" else tokens
                if (source / name).is_file():
                    shutil.copyfile(source / name, new / name)
            bytes_written = sum(path.stat().st_size for path in new.glob("*.safetensors"))
    except OSError as error:
        raise write_error(out, error) from error
    on_progress(bytes_written, bytes_written)
    parameters, tensors, plain = _counts(out)
    return Exported(
        model=reference,
        file=out,
        type=kind if kind != "auto" else str(dtype),
        architecture=str(config.get("model_type")),
        parameters=parameters,
        tensors=tensors,
        bytes=bytes_written,
        tokenizer=None,
        vocabulary=config.get("vocab_size"),
        notes=_notes(plain) if kind in BIT_TYPES else (),
    )


def load_lazily(folder: Path, user: str = "--to mlx") -> tuple[Any, dict[str, Any]]:
    """A model by mlx-lm, and its configuration; arrays are read when they are evaluated.

    Args:
        folder: A model in Hugging Face's layout.
        user: What needs it, for the message.

    Raises:
        ConfigError: mlx-lm is not there, or does not load the model.
    """
    try:
        from mlx_lm.utils import load_model
    except ImportError as error:
        raise ConfigError(
            f"{user} needs mlx-lm: {error}", "Install mlx-lm, which needs Python 3.11"
        ) from error
    try:
        model, config = load_model(folder, lazy=True)
    except (ValueError, KeyError, TypeError, FileNotFoundError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{folder}: mlx-lm does not load it: {first}",
            "Choose a model of a family that mlx-lm knows, or a newer mlx-lm",
        ) from error
    return model, config


def convert_lazily(
    model: Any, config: dict[str, Any], dtype: str | None, bits: int | None
) -> dict[str, Any]:
    """Cast and pack a model in place, in `mlx_lm.convert`'s order; nothing is evaluated.

    Args:
        model: As `load_lazily` gives it.
        config: Its configuration.
        dtype: A value of `FLOAT_TYPES`, which its floats are cast to; anything else leaves them.
        bits: What its matrices are packed to, in groups of `GROUP`; None to leave them.

    Returns:
        The configuration of the result.
    """
    import mlx.core as mx
    from mlx.utils import tree_map_with_path
    from mlx_lm.utils import quantize_model

    if dtype is not None and dtype in FLOAT_TYPES.values():
        kind = getattr(mx, dtype)
        casts = getattr(model, "cast_predicate", lambda name: True)

        def cast(name: str, array: mx.array) -> mx.array:
            floats = mx.issubdtype(array.dtype, mx.floating)
            return array.astype(kind) if floats and casts(name) else array

        model.update(tree_map_with_path(cast, model.parameters()))
        config = {**config, "dtype": dtype, "torch_dtype": dtype}
    if bits is not None:
        # It prints the bits for each weight.
        with redirect_stdout(io.StringIO()):
            _, config = quantize_model(model, config, GROUP, bits)
    return config


def _write(model: Any, config: dict[str, Any], folder: Path) -> None:
    from mlx_lm.utils import save_config, save_model

    try:
        save_model(folder, model, donate_model=True)
    except RuntimeError as error:
        # MLX says so of a full disk.
        raise OSError(str(error)) from error
    save_config(dict(config), folder / "config.json")


def _notes(plain: int) -> tuple[str, ...]:
    if not plain:
        return ()
    return (f"{plain} matrices are not packed: mlx-lm leaves rows that {GROUP} does not divide",)


def _counts(folder: Path) -> tuple[int, int, int]:
    """Numbers of the model, tensors of its files, and matrices that are not packed."""
    from mlx_probe.checkpoint import open_checkpoint
    from mlx_probe.checkpoint.parameter import PLAIN
    from mlx_probe.source import resolve

    with open_checkpoint(resolve(str(folder))) as checkpoint:
        numbers = sum(each.numel for each in checkpoint.parameters)
        plain = {
            weight.name
            for weight in checkpoint.weights()
            if weight.rows is not None and weight.parameter.packing == PLAIN
        }
        return numbers, len(checkpoint.tensors), len(plain)
