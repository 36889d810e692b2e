"""An adapter merged into its base: read top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlx_probe.analysis.stages import STAGES
from mlx_probe.checkpoint import Checkpoint, open_checkpoint
from mlx_probe.checkpoint.parameter import PLAIN
from mlx_probe.core.files import write_error
from mlx_probe.core.version import __version__
from mlx_probe.lab.adapter_folder import find_adapter_folder
from mlx_probe.lab.derived_model import (
    DTYPES,
    copy_texts,
    plain_config,
    refuse_out,
    stored_type,
    unpacked_type,
    write_json,
)
from mlx_probe.lab.generate.folder import find_model_folder
from mlx_probe.lab.merge.changes import read_changes
from mlx_probe.lab.merge.record import RECORD
from mlx_probe.lab.merge.tensors import merged_tensors
from mlx_probe.lab.model_input import model_input
from mlx_probe.lab.tensor_stream import write_shards
from mlx_probe.lab.whole_folder import whole_folder
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.runs.small_run import SmallRun
from mlx_probe.source import resolve
from mlx_probe.source.transfer.disk_space import existing_folder, require_space

__all__ = ["DTYPES", "Merged", "merge_adapter"]

_COUNTS = ("changed", "tensors", "unpacked", "parameters", "bytes")


@dataclass(frozen=True)
class Merged:
    """A model that was merged.

    Attributes:
        base: The reference of the base.
        adapter: The reference of the adapter.
        folder: Where the model is.
        kind: What the adapter is: "lora", "dora" or another key of `ADAPTERS`.
        layout: Whose adapter it is: "peft", "mlx-lm" or "gguf".
        ranks: Ranks of its factors.
        changed: Tensors that it changed.
        tensors: Tensors of the model.
        unpacked: Tensors that were packed, and are plain now.
        parameters: Numbers in the model.
        bytes: Size of the files with weights.
        files: Their names.
        notes: What else is different.
    """

    base: str
    adapter: str
    folder: Path
    kind: str
    layout: str
    ranks: tuple[int, ...]
    changed: int
    tensors: int
    unpacked: int
    parameters: int
    bytes: int
    files: tuple[str, ...]
    notes: tuple[str, ...]


def merge_adapter(
    base: str,
    adapter: str,
    out: Path,
    dtype: str = "auto",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Merged:
    """Write base and adapter as one model that mlx-lm, transformers and `mlx-probe` open.

    The sums are those of `mlx_probe.analysis.compare`, in float64, rounded once. Packed weights
    are unpacked, all of them: a model that is packed in parts is no published layout. One matrix
    at a time is in memory.

    Args:
        base: Reference of a model in Hugging Face's layout, or of a finished training run.
        adapter: Reference of an adapter, or the folder of a tuning run.
        out: The folder to write. A model that was merged before is replaced, nothing else.
        dtype: Key of `DTYPES` for all tensors of floats, or "auto" for the types that they have;
            packed ones take that of config.json.
        on_progress: Called with the bytes that are written, and all.

    Raises:
        SourceError: Base or adapter cannot be had.
        CheckpointError: One of them is damaged, or a change of the adapter is not certain.
        ConfigError: What this kind of adapter does is not computed; or a number is beyond the
            type.
        ResultError: The disk refused, or something else is in ``out``.
    """
    run = SmallRun("merge")
    chosen = stored_type(dtype)
    folder, tuned = find_model_folder(base), find_adapter_folder(adapter)
    refuse_out(out, RECORD, folder, tuned)
    with (
        open_checkpoint(resolve(str(folder))) as model,
        open_checkpoint(resolve(str(tuned))) as change,
        UsageMeter(STAGES) as meter,
    ):
        changes = read_changes(model, change)
        assert change.adapter is not None
        unpacked = unpacked_type(model)
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            on_progress(done, total)

        tensors = list(merged_tensors(model, changes, chosen, unpacked, meter, on_bytes))
        total = sum(tensor.nbytes for tensor in tensors)
        packed = sum(parameter.packing != PLAIN for parameter in model.parameters)
        notes = _notes(tuned, packed, unpacked if chosen is None else chosen)
        merged = Merged(
            base=base,
            adapter=adapter,
            folder=out,
            kind=change.adapter.kind,
            layout=change.adapter.layout,
            ranks=change.adapter.ranks,
            changed=len(changes),
            tensors=len(tensors),
            unpacked=packed,
            parameters=sum(parameter.numel for parameter in model.parameters),
            bytes=total,
            files=(),
            notes=notes,
        )
        try:
            require_space(existing_folder(out.parent), total, "the merged model", "--out")
            with whole_folder(out) as new:
                files = tuple(path.name for path in write_shards(new, tensors))
                merged = replace(merged, files=files)
                tokenizer = tuned if (tuned / "tokenizer.json").is_file() else folder
                copy_texts(folder, tokenizer, new)
                write_json(new / "config.json", plain_config(model, dtype, packed > 0))
                write_json(new / RECORD, _record(merged, change))
                run.write(
                    new,
                    [model_input("base", base, folder), model_input("adapter", adapter, tuned)],
                    {"dtype": dtype},
                    {name: getattr(merged, name) for name in _COUNTS},
                    written=["."],
                )
        except OSError as error:
            raise write_error(out, error) from error
    return merged


def _notes(adapter: Path, packed: int, dtype: str) -> tuple[str, ...]:
    notes = []
    if packed:
        notes.append(f"{packed} packed tensor(s) of the base were unpacked to {dtype}")
    if (adapter / "tokenizer.json").is_file():
        notes.append("the tokenizer is the adapter's own, with which it was trained")
    return tuple(notes)


def _record(merged: Merged, adapter: Checkpoint) -> dict[str, Any]:
    """What a model card says of it."""
    assert adapter.adapter is not None
    said = {key: value for key, value in asdict(merged).items() if key != "folder"}
    return {
        "mlx_probe": __version__,
        **said,
        "alpha": adapter.adapter.alpha,
        "scale": adapter.adapter.scale,
        "targets": len(adapter.adapter.targets),
        "base_model": adapter.adapter.base_model,
    }
