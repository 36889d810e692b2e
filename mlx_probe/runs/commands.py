"""Which command makes a run of a kind: the words after `mlx-probe`."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COMMANDS", "MEASURES", "command_name"]

# By "kind" in run_meta.json.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "analyze": ("analyze",),
    "compare": ("compare",),
    "train": ("train",),
    "tune": ("tune",),
    "moe-train": ("moe", "train"),
    "moe-stats": ("moe", "stats"),
    "moe-signals": ("moe", "signals"),
    "lineage": ("lineage",),
    "evaluate": ("evaluate",),
    "load-test": ("load-test",),
    "similar-layers": ("similar-layers",),
    "graft": ("moe", "graft"),
    "merge": ("merge",),
    "export": ("export",),
    "budget": ("budget",),
    "budget-export": ("budget",),
    "moe-prune": ("moe", "prune"),
    "moe-merge": ("moe", "merge"),
    "toolcalls": ("data", "toolcalls"),
    "sweep": ("runs", "sweep"),
    "series": ("series",),
}
# Those with a table of weights.
MEASURES = frozenset({"analyze", "compare"})


def command_name(kind: str) -> str:
    """The command as it is typed, "moe stats" for the kind "moe-stats"."""
    return " ".join(COMMANDS.get(kind, (kind.replace("-", " "),)))
