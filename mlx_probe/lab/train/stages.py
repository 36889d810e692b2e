"""The stages of a training run, for the cost account in its metadata."""

from __future__ import annotations

from collections.abc import Mapping

from mlx_probe.runs.monitor import Stage

__all__ = ["STAGES"]

STAGES: Mapping[str, Stage] = {
    "tokenize": Stage("train the tokenizer and tokenize the text", "tokenizing"),
    "load": Stage("wait for the next batch", "loading data"),
    "step": Stage("forward pass, backward pass and optimizer", "training steps", in_lane=True),
    "evaluate": Stage("predict the validation text", "evaluations", in_lane=True),
    "sample": Stage("write samples of text", "samples", in_lane=True),
    "record": Stage("write metrics and snapshots", "writing"),
    "checkpoint": Stage("write checkpoints", "checkpoints"),
    "watch": Stage("measure the snapshots that are left after the last step", "measuring"),
}
