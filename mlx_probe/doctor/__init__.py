"""Is this machine fit for the work? Facts are gathered once; checks are functions of them.

`CHECKS` is the table. A check looks at `Facts` and at nothing else: tests can judge machines
that they do not have.
"""

from __future__ import annotations

from mlx_probe.doctor.checks import CHECKS, examine
from mlx_probe.doctor.checks.finding import Finding
from mlx_probe.doctor.facts import Facts
from mlx_probe.doctor.gathering import gather
from mlx_probe.doctor.snapshot import Difference, Snapshot, read_snapshot, write_snapshot

__all__ = [
    "CHECKS",
    "Difference",
    "Facts",
    "Finding",
    "Snapshot",
    "examine",
    "gather",
    "read_snapshot",
    "write_snapshot",
]
