"""What `moe stats` prints with --json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlx_probe.runs.run import Run

__all__ = ["mixture_document"]


def mixture_document(run: Run, layers: int) -> dict[str, Any]:
    """The statistics of a mixture that have just been made.

    Args:
        run: The run.
        layers: Rows of its table of layers.
    """
    meta = run.meta
    return {
        "kind": meta["kind"],
        "run": str(run.meta_path),
        "model": meta["model"]["id"],
        "layers": layers,
        "experts": sum(meta["rows_by_status"].values()),
        "rows_by_status": meta["rows_by_status"],
        "passed": run.passed,
        "failures": list(run.failures),
        "complete": run.complete,
        "unread": run.unread,
        "seconds": sum(meta["seconds"].values()),
        "peak_process_memory": meta["peak_process_memory"],
        "outputs": [str(path) for path in run.outputs],
        "data": meta.get("data"),
        "tokens": meta.get("tokens"),
        "loss": meta.get("loss"),
        **meta["found"],
    }
