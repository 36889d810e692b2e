"""A dense model grafted into experts: read top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from math import prod
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_probe.analysis.stages import STAGES
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.checkpoint.parameter import PLAIN
from mlx_probe.core.files import write_error
from mlx_probe.core.version import __version__
from mlx_probe.lab.derived_model import (
    refuse_out,
    stored_type,
    unpacked_type,
    write_json,
)
from mlx_probe.lab.device import available_memory
from mlx_probe.lab.generate.folder import find_model_folder
from mlx_probe.lab.merge.tensors import merged_tensors
from mlx_probe.lab.model_input import model_input
from mlx_probe.lab.moe.graft.config import GraftConfig, experts_of
from mlx_probe.lab.moe.graft.dense import read_dense
from mlx_probe.lab.moe.graft.receipt import (
    Measured,
    Measurement,
    measure,
    open_dense,
)
from mlx_probe.lab.moe.graft.splitter import Splitter
from mlx_probe.lab.moe.graft.tensors import Grafter, grafted_tensors
from mlx_probe.lab.moe.graft.texts import write_texts
from mlx_probe.lab.moe.hidden import watch_hidden
from mlx_probe.lab.moe.running import FLOAT32, require_memory
from mlx_probe.lab.tensor_stream import write_shards
from mlx_probe.lab.whole_folder import whole_folder
from mlx_probe.runs.mixture.folder import RECEIPT
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.runs.small_run import SmallRun, data_input
from mlx_probe.source import resolve
from mlx_probe.source.transfer.disk_space import existing_folder, require_space

__all__ = ["Grafted", "graft_model"]

_RUN = tuple(field.name for field in fields(Measured))
# The results in run_meta.json.
_COUNTS = (
    *("layers", "experts", "width", "active", "factor", "tensors", "parameters", "bytes"),
    *("tokens", "max_logit_difference", "loss_before", "loss_after"),
)


@dataclass(frozen=True)
class Grafted:
    """A mixture that was made of a dense model.

    Attributes:
        model: The reference of the dense model.
        folder: Where the mixture is.
        stock: Its model_type.
        form: What an expert is made of; one of `FORMS`.
        split: Key of `SPLITS`; None for copies.
        layers: Layers, each with a mixture.
        experts: Experts of a layer.
        width: Hidden units of each.
        active: Experts that a token uses.
        factor: What down projections were multiplied by.
        exact: Whether that rounded nothing.
        seed: Of everything that is drawn.
        tensors: Tensors of the mixture.
        parameters: Numbers in it.
        bytes: Size of the files with weights.
        files: Their names.
        notes: What else is different.
        renewed_share: Share of hidden units that begin anew; None for other forms.
        measured: Dense model and mixture on a text; None if they were not run.
    """

    model: str
    folder: Path
    stock: str
    form: str
    split: str | None
    layers: int
    experts: int
    width: int
    active: int
    factor: int
    exact: bool
    seed: int
    tensors: int
    parameters: int
    bytes: int
    files: tuple[str, ...]
    notes: tuple[str, ...]
    renewed_share: float | None
    measured: Measured | None

    def describe(self) -> dict[str, Any]:
        """For JSON: what the receipt says."""
        said = {
            key: value for key, value in asdict(self).items() if key not in ("folder", "measured")
        }
        # Null and no damage where nothing was run.
        run = asdict(self.measured) if self.measured else dict.fromkeys(_RUN) | {"damage": []}
        return {**said, "run": self.measured is not None, **run}


def graft_model(
    reference: str,
    out: Path,
    config: GraftConfig | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Grafted:
    """Write a dense model as a stock mixture that mlx-lm, transformers and `mlx-probe` open.

    Attention, norms and embeddings keep every bit. One feed-forward block at a time is in memory,
    unless the models are run for the receipt.

    Args:
        reference: A model in Hugging Face's layout or one GGUF file, or a finished training run.
        out: The folder to write. A graft that is there is replaced, nothing else.
        config: Settings.
        on_progress: Called with the steps that are done, and all: a layer that is written, a loss
            that is measured.

    Raises:
        SourceError: The model, its tokenizer or the text cannot be had.
        CheckpointError: The model is damaged.
        ConfigError: It becomes no stock mixture, is one already, or the settings do not fit it.
        ResultError: The disk refused, or something else is in ``out``.
    """
    run, config = SmallRun("graft"), config or GraftConfig()
    dtype = stored_type(config.dtype)
    folder = find_model_folder(reference)
    refuse_out(out, RECEIPT, folder)
    with open_checkpoint(resolve(str(folder))) as model, UsageMeter(STAGES) as meter:
        dense = read_dense(model)
        sizes = experts_of(config, dense.hidden)
        splitter = Splitter(dense, config, sizes)
        graft = Grafter(model, dense, config, sizes, splitter.units, dtype, unpacked_type(model))
        steps = _Steps(on_progress, dense.layers, 2 + sizes.experts if config.run else 0)
        stored = merged_tensors(model, {}, dtype, graft.unpacked, meter, steps.wrote)
        tensors = list(grafted_tensors(graft, stored, steps.wrote))
        total = steps.bytes = sum(tensor.nbytes for tensor in tensors)
        grafted = Grafted(
            model=reference,
            folder=out,
            stock=dense.stock.model_type,
            form=config.form,
            split=config.split if config.form == "sum" else None,
            layers=dense.layers,
            experts=sizes.experts,
            width=sizes.width,
            active=sizes.active,
            factor=graft.factor,
            exact=graft.factor & (graft.factor - 1) == 0,
            seed=config.seed,
            tensors=len(tensors),
            parameters=sum(prod(tensor.shape) for tensor in tensors),
            bytes=total,
            files=(),
            notes=_notes(graft, {tensor.dtype for tensor in tensors}),
            renewed_share=config.share if config.form == "drop" else None,
            measured=None,
        )
        before = None
        if config.run:
            require_memory(
                grafted.parameters * FLOAT32,
                available_memory(mx.default_device().type == mx.gpu),
                "Give --no-run for a graft without loss and logits in its receipt",
            )
            before = _run_dense(reference, config, splitter, steps)
        try:
            require_space(existing_folder(out.parent), total, "the mixture", "--out")
            with whole_folder(out) as new:
                files = tuple(path.name for path in write_shards(new, tensors))
                write_texts(graft, folder, new)
                measured = None
                if before is not None:
                    is_sum = config.form == "sum"
                    measured = measure(new, dense.stock.block, before, is_sum, steps.measured)
                grafted = replace(grafted, files=files, measured=measured)
                write_json(new / RECEIPT, {"mlx_probe": __version__, **grafted.describe()})
                inputs = [model_input("base", reference, folder)]
                if config.run or config.split == "activation":
                    inputs.append(data_input(config.data))
                said = {name: grafted.describe().get(name) for name in _COUNTS}
                run.write(new, inputs, asdict(config), said, written=["."])
        except OSError as error:
            raise write_error(out, error) from error
    return grafted


class _Steps:
    """Counts layers that are written, and losses that are measured.

    Attributes:
        bytes: What will be written.
    """

    def __init__(self, on_progress: Callable[[int, int], None], layers: int, losses: int) -> None:
        self.bytes = 0
        self._on_progress, self._layers, self._total = on_progress, layers, layers + losses
        self._written = self._losses = 0

    def wrote(self, count: int) -> None:
        """So many bytes more."""
        self._written += count
        self._tell()

    def measured(self) -> None:
        """A loss more."""
        self._losses += 1
        self._tell()

    def _tell(self) -> None:
        layers = self._layers * self._written // self.bytes if self.bytes else 0
        self._on_progress(layers + self._losses, self._total)


def _run_dense(
    reference: str, config: GraftConfig, splitter: Splitter, steps: _Steps
) -> Measurement:
    loaded, before = open_dense(reference, config.data, config.tokens)
    if config.split == "activation":
        watch_hidden(loaded.model, before.rows, splitter.split)
    del loaded
    mx.clear_cache()
    steps.measured()
    return before


def _notes(graft: Grafter, kinds: set[str]) -> tuple[str, ...]:
    notes = []
    packed = sum(parameter.packing != PLAIN for parameter in graft.model.parameters)
    if packed:
        kind = graft.dtype or graft.unpacked
        notes.append(f"{packed} packed tensor(s) of the model were unpacked to {kind}")
    if graft.factor & (graft.factor - 1) and kinds - {"F32"}:
        notes.append(
            f"{graft.factor} experts are no power of two: their down projections are rounded once; "
            "--dtype float32 rounds least"
        )
    if graft.dense.tied and not graft.dense.stock.tied:
        notes.append(
            f"the tied embedding is written out as lm_head: mlx-lm's {graft.dense.stock.model_type}"
            " needs one"
        )
    return tuple(notes)
