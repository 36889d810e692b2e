"""The stages of a run of signals, for the cost account in its metadata."""

from __future__ import annotations

from collections.abc import Mapping

from mlx_probe.runs.monitor import Stage

__all__ = ["STAGES"]

STAGES: Mapping[str, Stage] = {
    "measure": Stage("forward and backward pass of a window", "gradients", in_lane=True),
    "record": Stage("write a window down", "writing"),
}
