"""Rows, plans and checkpoints as text for a terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from mlx_probe.checkpoint import PLAIN, Checkpoint, Parameter
from mlx_probe.naming import classify
from mlx_probe.plan import Plan, has_spectrum
from mlx_probe.spotcheck import SPOT_CHECKS
from mlx_probe.table.run_folder import RunPaths
from mlx_probe.table.spectra import SPECTRA
from mlx_probe.table.validation import Check

__all__ = [
    "checkpoint_text",
    "checks_text",
    "plain",
    "plan_text",
    "printable",
    "skipped_text",
    "summary_table",
]

# Kinds of reasons that are told in full.
_REASONS = 5


def plain(text: str) -> str:
    """Text from a file, harmless on a terminal: without control characters but line ends."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def printable(text: str) -> str:
    """`plain` text of one line that rich takes for no markup."""
    return escape(plain(text).replace("\n", "\\n"))


def summary_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """Medians over the tensors of each block type, blocks in the order in which they first occur.

    Args:
        rows: Rows of a result table, column name to value.
        title: Heading.
    """
    table = Table(
        title=printable(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("block type", no_wrap=True, max_width=13)
    for name in ("tensors", "params", "rank/full", "stable rk", "eff. rk", "std", "zeros"):
        table.add_column(name, justify="right", no_wrap=True)
    blocks: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        # Parts of fused matrices apart: their elements are in the fused ones' line already.
        part = " (part)" if row.get("part") else ""
        blocks.setdefault(row["block_type"] + part, []).append(row)
    for block_type, members in blocks.items():
        ranks = [
            row["rank"] / min(row["rows"], row["cols"])
            for row in members
            if row["rank"] is not None
        ]
        table.add_row(
            printable(block_type),
            str(len(members)),
            _count(sum(row["numel"] for row in members)),
            f"{median(ranks):.3f}" if ranks else "-",
            _median(members, "stable_rank", ".1f"),
            _median(members, "effective_rank", ".1f"),
            _median(members, "std", ".4g"),
            _median(members, "sparsity", ".2%"),
        )
    return table


def plan_text(plan: Plan, paths: RunPaths, seconds: float) -> RenderableType:
    """The plan of an analysis: goal, inputs, steps, outputs, checks, and what it will take.

    Args:
        plan: The plan.
        paths: Where the results would go.
        seconds: Estimated time of the measuring.
    """
    files, config = plan.checkpoint.files, plan.config
    matrices = sum(has_spectrum(weight) for weight in plan.weights)
    largest = max(range(len(plan.weights)), key=lambda i: plan.sizes[i])
    skipped = [(w.label, w.problem, w.nbytes) for w in plan.weights if w.problem]
    steps = [
        f"map {len(files.weights)} file(s), {config.workers} weight(s) in flight",
        "stream each weight once: moments and Gram matrix from the same slabs",
        "singular values from the Gram matrix; float64 SVD where its error bound is too wide",
        "write each row to a journal as it is done; resume from it after an interruption",
        *(["heads and experts, several weights together"] if config.metrics == "full" else []),
        "write the tables and run_meta.json",
    ]
    # Of what a model may not have, nothing is promised.
    kept = config.save_spectra and matrices and config.metrics != "basic"
    spectra = [paths.side(SPECTRA, "parquet")] if kept else []
    outputs = [*map(paths.table, paths.formats), *spectra, paths.meta]
    lines = {
        "goal": f"{config.metrics} metrics of {len(plan.weights)} weights, {matrices} spectra",
        "model": f"{files.model_id} at {files.revision} ({plan.checkpoint.framework})",
        "inputs": "\n".join(str(path) for path in files.weights),
        "backend": plan.backend_reason,
        "steps": "\n".join(f"{n}. {step}" for n, step in enumerate(steps, start=1)),
        "outputs": "\n".join(str(path) for path in outputs),
        "checks": (
            "rows, columns, types, ranges, ranks; "
            f"{SPOT_CHECKS} weights recomputed in float64 (seed {config.seed})"
        ),
        "to read": decimal(plan.read_bytes),
        "copies": f"{len(plan.aliases)} weights with the bytes of another" if plan.aliases else "",
        "largest working set": f"{decimal(plan.sizes[largest])} for {plan.weights[largest].label}",
        "memory limit": decimal(config.memory_limit),
        "estimated time": f"{seconds:.1f} s of computing on this machine, reading not counted",
    }
    lines |= _skipped_lines(skipped, "weights")
    return _grid({name: text for name, text in lines.items() if text})


def checkpoint_text(checkpoint: Checkpoint) -> RenderableType:
    """Every parameter with its role, shape, type and size, and the totals; from headers only."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("name", "role", "layer", "dtype", "shape", "size"):
        table.add_column(
            name, justify="right" if name in ("layer", "size") else "left", overflow="fold"
        )
    files, parameters = checkpoint.files, checkpoint.parameters
    for parameter in parameters:
        role = classify(parameter.name)
        table.add_row(
            printable(parameter.name),
            role.block_type,
            "" if role.layer_index is None else str(role.layer_index),
            printable(_stored_as(parameter)) + (" (skipped)" if parameter.problem else ""),
            " x ".join(map(str, parameter.shape)) or "scalar",
            decimal(parameter.nbytes),
        )
    numel, nbytes = (sum(getattr(p, name) for p in parameters) for name in ("numel", "nbytes"))
    types = Counter(map(_stored_as, parameters))
    lines = {
        "model": f"{files.model_id} at {files.revision}",
        "path": str(files.path),
        "format": f"{checkpoint.framework}, {len(files.weights)} file(s)",
        "architecture": _pairs(checkpoint.architecture.describe()),
        "tensors": f"{len(parameters)} ({', '.join(f'{n} {t}' for t, n in types.most_common())})",
        "parameters": f"{numel:,}",
        "size": decimal(nbytes) + (f", {8 * nbytes / numel:.2f} bits a weight" if numel else ""),
    }
    if checkpoint.adapter is not None:
        adapter = checkpoint.adapter.describe()
        adapter["targets"] = f"{len(adapter['targets'])} modules"
        lines["adapter"] = _pairs(adapter)
    skipped = [(p.name, p.problem, p.nbytes) for p in parameters if p.problem]
    lines |= _skipped_lines(skipped, "tensors")
    return Group(table, _grid({name: text for name, text in lines.items() if text}))


def _skipped_lines(skipped: Sequence[tuple[str, str, int]], what: str) -> dict[str, str]:
    """How much was not understood and why, given name, reason and bytes of each."""
    if not skipped:
        return {}
    # Reasons that differ in a name or a number are of one kind; the first stands for it.
    kinds: dict[str, list[str]] = {}
    for name, reason, _ in skipped:
        kind = re.sub(r"\S*[\d.]\S*", "#", reason)
        kinds.setdefault(kind, []).append(reason if name in reason else f"{name}: {reason}")
    reasons = [f"{len(alike)}: {alike[0]}" for alike in kinds.values()]
    if len(reasons) > _REASONS:
        reasons[_REASONS:] = [f"and {len(reasons) - _REASONS} more reasons"]
    total = f"{len(skipped)} {what}, {decimal(sum(nbytes for _, _, nbytes in skipped))}"
    return {"skipped": "\n".join([total, *reasons])}


def _stored_as(parameter: Parameter) -> str:
    if parameter.packing == PLAIN:
        return parameter.dtype
    if parameter.dtype in parameter.detail:
        return f"{parameter.packing} {parameter.dtype}"
    return f"{parameter.packing} {parameter.detail}".strip()


def _pairs(known: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in known.items() if value is not None
    )


def skipped_text(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What an analysis could not understand, with the reasons; empty if there is nothing.

    Args:
        rows: Rows of a result table, column name to value.
    """
    skipped = [
        (row["param_name"], row["status_reason"], row["nbytes"])
        for row in rows
        if row["status"] == "skipped"
    ]
    return _grid(_skipped_lines(skipped, "weights"))


def checks_text(checks: Sequence[Check]) -> RenderableType:
    """One line for each check."""
    table = Table.grid(padding=(0, 2))
    for check in checks:
        mark = "[green]ok[/]" if check.passed else "[bold red]failed[/]"
        table.add_row(mark, printable(check.name), printable(check.detail))
    return table


def _grid(lines: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(name, "\n".join(map(printable, text.split("\n"))))
    return table


def _median(rows: Iterable[dict[str, Any]], column: str, form: str) -> str:
    values = [row[column] for row in rows if row.get(column) is not None]
    return format(median(values), form) if values else "-"


def _count(n: int) -> str:
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if n >= size:
            return f"{n / size:.4g} {letter}"
    return str(n)
