"""An adapter from the pairs of a comparison, in the comparison's own job: read top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from mlx_probe.analysis.compare.companion import Beside
from mlx_probe.analysis.low_rank.columns import ADAPTER
from mlx_probe.analysis.low_rank.factors import factor_bytes, factor_pair, method_of
from mlx_probe.analysis.low_rank.token_columns import TOKENS
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.core.dtypes import decode
from mlx_probe.core.errors import CheckpointError, ConfigError, PackingError, SpectrumError
from mlx_probe.core.files import write_error
from mlx_probe.core.records import Column, Row
from mlx_probe.lab.derived_model import DTYPES
from mlx_probe.lab.elements import converted
from mlx_probe.lab.extract_lora.config import ExtractConfig
from mlx_probe.lab.extract_lora.meaning import token_rows
from mlx_probe.lab.extract_lora.placing import Placing, place_pairs
from mlx_probe.lab.extract_lora.spool import Spool, discard_others
from mlx_probe.lab.extract_lora.totals import error_of, totals
from mlx_probe.lab.extract_lora.writing import write_mlx, write_peft
from mlx_probe.lab.whole_folder import whole_folder
from mlx_probe.runs.table.schema import rows_to_table

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from mlx_probe.analysis.compare.plan import ComparePlan
    from mlx_probe.runs.job import Job

__all__ = ["FOLDER", "LAYOUTS", "AdapterMaker"]

# Where the adapters are in the run folder, and what is called how.
FOLDER = "adapter"
LAYOUTS = {"peft": "peft", "mlx_lm": "mlx-lm"}


class AdapterMaker:
    """Makes an adapter of a difference; see `Companion`.

    Args:
        config: How.
        base: Reference of the base, as the user named it.
    """

    sides = ("adapter", "tokens")

    def __init__(self, config: ExtractConfig, base: str) -> None:
        self._config, self._base = config, base

    @property
    def settings(self) -> Mapping[str, Any]:
        """The configuration."""
        return asdict(self._config)

    def refuse(self, plan: ComparePlan) -> None:
        """Refuse a base that no adapter is for; see `Companion`."""
        base = plan.a
        if base.adapter is not None:
            raise ConfigError(
                f"{base.files.model_id} is an adapter", "Name a model first, which it changes"
            )
        if base.framework == "gguf":
            raise ConfigError(
                f"{base.files.model_id} is a GGUF file, for which PEFT and mlx-lm have no adapter",
                "Name the base in Hugging Face's layout first",
            )

    def make(self, plan: ComparePlan, rows: Sequence[Row], job: Job, fingerprint: str) -> Beside:
        """Factor every matrix, write both adapters; see `Companion`."""
        job.begin("extract", "extracting the adapter")
        by_index = {row.index: row.values for row in rows}
        placing = place_pairs(plan, by_index, self._config.modules_to_save)
        spool = Spool(job.paths.folder / f".{FOLDER}.{fingerprint[:12]}")
        discard_others(job.paths.folder, FOLDER, spool)
        failed = self._factor(plan, placing, spool, job)
        table = placing.rows(spool, failed)
        if not any(row.get("lora_rank") for row in table):
            raise CheckpointError(
                f"no matrix of {plan.a.files.model_id} changed in a way that an adapter has",
                "Compare the two without --extract-lora: its table says what changed",
            )
        job.progress.what = "tokens that the difference reads and writes"
        tokens, said = token_rows(plan, placing, spool, job.meter)
        folders = self._write(plan, placing, spool, table, job.paths.folder / FOLDER)
        spool.discard()
        tables = {"adapter": (_table(table, ADAPTER), ADAPTER)}
        if tokens:
            tables["tokens"] = _table(tokens, TOKENS), TOKENS
        described = {"extraction": {**totals(table), "adapters": folders, "tokens": said}}
        written = [job.paths.folder / FOLDER / LAYOUTS[name] for name in folders if folders[name]]
        files = [file for folder in written for file in sorted(folder.iterdir())]
        places = [folder.relative_to(job.paths.folder).as_posix() for folder in written]
        return Beside(tables, files, {**described, "written": places})

    def _factor(
        self, plan: ComparePlan, placing: Placing, spool: Spool, job: Job
    ) -> Mapping[int, str]:
        """Make the factors that are not on the disk yet; why there are none of some."""
        config, failed = self._config, {}
        # A share of the energy may ask for any rank.
        budget, tasks = plan.budget, []
        for index in placing.factored:
            if not spool.has(index):
                pair = plan.pairs[index]
                method = method_of(pair, config.rank, budget)
                tasks.append(((index, method), factor_bytes(pair, config.rank, method)))
        tasks.sort(key=lambda task: (-plan.pairs[task[0][0]].weight.numel, task[0][0]))
        stored = partial(_stored, DTYPES[config.dtype])

        def work(task: tuple[int, str]) -> tuple[int, str | None]:
            index, method = task
            job.meter.gate.wait()
            pair = plan.pairs[index]
            try:
                made = factor_pair(pair, config.rank, config.energy, method, stored, job.meter)
            except (SpectrumError, PackingError) as error:
                return index, error.fact
            spool.put(index, made.left, made.right, made.columns)
            return index, None

        # One BLAS thread for each worker; see `analyze_rows`.
        with threadpool_limits(1, user_api="blas"):
            for index, reason in run_within_budget(work, tasks, plan.config.workers, budget):
                job.progress.what = plan.pairs[index].weight.label
                if reason is not None:
                    failed[index] = reason
        return failed

    def _write(
        self,
        plan: ComparePlan,
        placing: Placing,
        spool: Spool,
        table: Sequence[Mapping[str, Any]],
        folder: Path,
    ) -> dict[str, Any]:
        """Write both folders together, or none; what is said of each, None for one that is not."""
        dtype, base = DTYPES[self._config.dtype], self._base
        said: dict[str, Any] = {}
        try:
            with whole_folder(folder) as new:
                for layout, name in LAYOUTS.items():
                    carried = placing.carried(layout, spool)
                    said[layout] = None
                    if not any(each.rank for each in carried):
                        continue
                    (new / name).mkdir()
                    if layout == "peft":
                        size = write_peft(new / name, carried, spool, dtype, base, _task(plan))
                    else:
                        size = write_mlx(
                            new / name, carried, spool, dtype, base, plan.a.architecture.layers or 0
                        )
                    said[layout] = {
                        "folder": f"{FOLDER}/{name}",
                        "tensors": len(carried),
                        "bytes": size,
                        "error": error_of(table, layout),
                    }
        except OSError as error:
            raise write_error(folder, error) from error
        return said


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> pa.Table:
    """Rows as a table; what is no column of it is left out."""
    declared = [{column.name: row.get(column.name) for column in columns} for row in rows]
    return rows_to_table([Row(i, row) for i, row in enumerate(declared)], columns)


def _stored(dtype: str, factor: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values that a factor has in the file."""
    return decode(converted(factor, dtype, "a factor"), dtype).astype(np.float64)


def _task(plan: ComparePlan) -> str | None:
    """PEFT's name of what the base is for, by the class that config.json names."""
    classes = plan.a.config.get("architectures")
    name = str(classes[0]) if isinstance(classes, list) and classes else ""
    if name.endswith(("ForCausalLM", "LMHeadModel")) or not name:
        return "CAUSAL_LM"
    return "FEATURE_EXTRACTION" if name.endswith("Model") else None
