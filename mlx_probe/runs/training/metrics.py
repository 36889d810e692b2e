"""metrics.jsonl and samples.jsonl: one JSON object a line, written while the model learns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.records import Column

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "TIMES", "TRAIN_BPB", "metrics_frame", "read_lines", "samples_frame"]

# Of the lines of metrics.jsonl.
COLUMNS: tuple[Column, ...] = (
    Column(
        "step", "int64", "training", "Updates of the weights so far.", required=True, lower=0,
        title="Step",
        plain="How many times the weights have been changed; 0 is before training.",
    ),
    Column(
        "tokens", "int64", "training", "Tokens seen so far, repeated ones included.",
        required=True, lower=0, title="Tokens", unit="tokens",
        plain="How much text the model has learned from, counted in tokens.",
    ),
    Column(
        "seconds", "float64", "training", "Seconds of training so far, without pauses between "
        "starts.", lower=0, title="Time", unit="s", plain="How long training has taken so far.",
    ),
    Column(
        "train_loss", "float64", "training", "Mean cross-entropy of the step's batch, before the "
        "update; with GRPO the negative objective.",
        title="Training loss", unit="nats/token",
        plain="How badly the model predicts the next token of the text that it learns from.",
        caveat="It depends on the tokenizer: compare bits per byte between vocabularies.",
    ),
    Column(
        "val_loss", "float64", "training", "Mean cross-entropy of the validation text.",
        title="Validation loss", unit="nats/token",
        plain="The same for text that the model does not learn from.",
        caveat="It depends on the tokenizer: compare bits per byte between vocabularies.",
    ),
    Column(
        "val_bpb", "float64", "training", "Cross-entropy of the validation text over its bytes of "
        "UTF-8.", title="Validation bits per byte", unit="bits/byte",
        plain="Bits that the model needs to write down a byte of text that it does not learn from; "
        "comparable between tokenizers.",
    ),
    Column(
        "learning_rate", "float64", "training", "Learning rate of AdamW at the step.", lower=0,
        title="Learning rate", plain="How far a step moves the weights, by the schedule.",
    ),
    Column(
        "grad_norm", "float64", "training", "Euclidean norm of the gradient before clipping.",
        lower=0, title="Gradient norm",
        plain="How strongly the step's text pulls at all weights together; jumps are a warning.",
    ),
    Column(
        "tokens_per_second", "float64", "training", "Tokens of the step over its seconds.",
        lower=0, title="Throughput", unit="tokens/s", plain="How fast the model learns from text.",
    ),
    Column(
        "reward", "float64", "training", "Mean reward of the answers that the step learned from "
        "(GRPO).", lower=0, upper=1, title="Reward",
        plain="What the answers that the model drew are worth, from 0 to 1.",
    ),
    Column(
        "reward_std", "float64", "training", "Standard deviation of the rewards of a prompt's "
        "answers, mean over the prompts (GRPO).", lower=0, title="Spread of rewards",
        plain="How much answers to one prompt differ in worth; where they do not, nothing is "
        "learned from them.",
    ),
    Column(
        "kl", "float64", "training", "Divergence from the model before tuning, mean over the "
        "answers' tokens (GRPO).", lower=0, title="Divergence", unit="nats/token",
        plain="How far the model's answers are from those that it gave before tuning.",
    ),
    Column(
        "answer_tokens", "float64", "training", "Mean tokens of the answers that the step learned "
        "from (GRPO).", lower=0, title="Length of answers", unit="tokens",
        plain="How long the answers are that the model draws.",
    ),
    Column(
        "val_reward", "float64", "training", "Mean reward of the most likely answers to held-out "
        "prompts (GRPO).", lower=0, upper=1, title="Validation reward",
        plain="What the model's answers to prompts that it does not learn from are worth.",
    ),
    Column(
        "objective", "float64", "training", "Weighted sum of the losses that the step makes small, "
        "before the update (moe train).", title="Objective",
        plain="What the mixture learns to make small: to say what its teacher says, and the next "
        "token.",
    ),
    Column(
        "teacher_kl", "float64", "training", "Divergence of the mixture from its teacher, KL "
        "(teacher || mixture) at the temperature, mean over the step's tokens (moe train).",
        title="Divergence from the teacher", unit="nats/token",
        plain="How much what the mixture says differs from what the dense model says.",
    ),
    Column(
        "surprise_loss", "float64", "training", "Weighted auxiliary losses of SurpriseMin-DynMoE "
        "(moe train).", lower=0, title="Surprise losses",
        plain="What is added to the objective so that gates prefer experts with little Surprise.",
        caveat="A heuristic of one research group.",
    ),
    Column(
        "active_mean", "float64", "training", "Experts that a token uses in a layer, mean over the "
        "step's tokens and all layers (moe train).", lower=0, title="Active experts",
        unit="experts", plain="How many experts of a layer compute a token.",
    ),
    Column(
        "active_min", "float64", "training", "The fewest experts that a token of the step uses in "
        "a layer (moe train).", lower=0, title="Fewest active experts", unit="experts",
        plain="The smallest number of experts that compute a token.",
    ),
    Column(
        "active_max", "float64", "training", "The most experts that a token of the step uses in a "
        "layer (moe train).", lower=0, title="Most active experts", unit="experts",
        plain="The largest number of experts that compute a token.",
    ),
    Column(
        "fallback", "float64", "training", "Share of the step's tokens and layers for which no "
        "expert fired, so that the nearest half was taken (moe train).", lower=0, upper=1,
        title="Fallback", plain="How often the gate prefers no expert.",
    ),
)  # fmt: skip
# They differ between a run and one that was resumed; all others are the same, bit for bit.
TIMES = ("tokens_per_second", "seconds")
# Not in the lines: it follows from the training loss.
TRAIN_BPB = Column(
    "train_bpb", "float64", "training", "Training loss over the mean bytes of a token.",
    title="Training bits per byte", unit="bits/byte",
    plain="Bits that the model needs for a byte of the text that it learns from.",
    caveat="It takes every token to be as long as the mean of the training text.",
)  # fmt: skip


def read_lines(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """The objects of a file of JSON lines that may still be written.

    Args:
        path: The file; one that is not there yet has no lines.

    Returns:
        The objects, and whether the last line is not complete: it is left out.

    Raises:
        ResultError: Another line is no JSON object, or the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], False
    except OSError as error:
        raise ResultError(f"cannot read {path}: {error}", "Check the file's permissions") from error
    *lines, rest = data.split(b"\n")
    read = []
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError("it is no JSON object")
        except (ValueError, RecursionError) as error:
            raise ResultError(
                f"{path}: line {number} cannot be read: {error}",
                "Restore the file, or run the same command of mlx-probe train again",
            ) from error
        read.append(value)
    return read, bool(rest)


def metrics_frame(lines: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Metrics as a table in the order of the steps; NaN where a line says nothing.

    A step that is there twice, because a run was killed between two checkpoints, counts as the
    later line says.

    Args:
        lines: As `read_lines` returns them.

    Returns:
        Column "step" (int64), then float64: "tokens", "seconds" (so far; see `COLUMNS`) and
        whatever else the lines have as numbers.
    """
    import numpy as np
    import pandas as pd

    by_step = {
        int(line["step"]): line for line in lines if _is_number(line.get("step"))
    }  # later lines win
    steps = sorted(by_step)
    names = dict.fromkeys(
        name for line in by_step.values() for name, value in line.items() if _is_number(value)
    )
    values = {
        name: np.array(
            [v if _is_number(v := by_step[step].get(name)) else np.nan for step in steps], float
        )
        for name in names
        if name != "step"
    }
    frame: pd.DataFrame = pd.DataFrame({"step": np.array(steps, np.int64), **values})
    if "tokens" not in frame:
        frame["tokens"] = np.nan
    if "seconds" not in frame:
        frame["seconds"] = _seconds(frame)
    return frame


def _seconds(frame: pd.DataFrame) -> Any:
    """Seconds so far, from the throughput of each step."""
    import numpy as np

    if "tokens_per_second" not in frame:
        return np.full(len(frame), np.nan)
    tokens = np.diff(frame["tokens"].to_numpy(), prepend=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        seconds = tokens / frame["tokens_per_second"].to_numpy()
    return np.cumsum(np.where(np.isfinite(seconds), seconds, 0.0))


def samples_frame(lines: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Samples of text: columns step, prompt, text, in the order in which they were written."""
    import pandas as pd

    rows = [
        (int(line["step"]), str(line.get("prompt", "")), str(line.get("text", "")))
        for line in lines
        if _is_number(line.get("step"))
    ]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=["step", "prompt", "text"])
    return frame


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
