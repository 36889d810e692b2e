"""Rollouts as Parquet: one row for each answer.

    rollouts/step-N.parquet     the answers that step N learned from first
    rollouts/valid-N.parquet    those to held-out prompts after step N

All files have the same columns: `pandas.read_parquet("rollouts")` reads them as one table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import replacing
from mlx_probe.lab.generate.group import Drawn
from mlx_probe.lab.rewards.total import Judgement
from mlx_probe.lab.tune.grpo.rollouts import Rollout

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.lab.tune.grpo.prompts import Prompt

__all__ = ["ROLLOUTS", "RolloutStore", "mean_divergence"]

ROLLOUTS = "rollouts"
_PART = "reward."
_REMEDY = "Restore it, or start again with --no-resume"


class RolloutStore:
    """The files of a run.

    Args:
        run: Folder of the tuning.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / ROLLOUTS

    def path(self, step: int, split: str) -> Path:
        """A file.

        Args:
            step: See the module.
            split: "train" or "valid".
        """
        return self._folder / f"{'step' if split == 'train' else split}-{step}.parquet"

    def write(self, step: int, split: str, rollouts: Sequence[Rollout]) -> None:
        """Write a file, as a whole or not at all.

        Args:
            step: See the module.
            split: See `path`.
            rollouts: One or more.

        Raises:
            ResultError: The disk refused.
        """
        import pyarrow as pa
        import pyarrow.parquet as parquet

        floats = pa.list_(pa.float32())
        numbers = _numbers(rollouts)
        columns: dict[str, Any] = {
            "step": pa.array([step] * len(rollouts), pa.int64()),
            "split": pa.array([split] * len(rollouts), pa.string()),
            "prompt": pa.array([each.prompt.id for each in rollouts], pa.string()),
            "answer": pa.array(numbers, pa.int64()),
            "text": pa.array([each.text for each in rollouts], pa.string()),
            "is_finished": pa.array([each.drawn.is_finished for each in rollouts], pa.bool_()),
            "reward": pa.array([each.judgement.total for each in rollouts], pa.float64()),
            **{
                f"{_PART}{name}": pa.array(
                    [each.judgement.parts[name] for each in rollouts], pa.float64()
                )
                for name in rollouts[0].judgement.parts
            },
            "advantage": pa.array([each.advantage for each in rollouts], pa.float64()),
            "kl": pa.array([mean_divergence(each) for each in rollouts], pa.float64()),
            "tokens": pa.array([each.drawn.tokens for each in rollouts], pa.list_(pa.int32())),
            "logprobs": pa.array([each.drawn.logprobs for each in rollouts], floats),
            "reference_logprobs": pa.array([each.reference for each in rollouts], floats),
            "old_logprobs": pa.array([each.old for each in rollouts], floats),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.path(step, split)) as temporary:
            parquet.write_table(pa.table(columns), temporary)

    def read(self, step: int, prompts: Sequence[Prompt]) -> list[Rollout]:
        """The rollouts of a round that is learned from again.

        Args:
            step: The first that learned from it.
            prompts: Of each answer.

        Raises:
            ResultError: The file cannot be read, or holds another round.
        """
        path = self.path(step, "train")
        try:
            rows = self._table(path).to_pylist()
            if [row["prompt"] for row in rows] != [prompt.id for prompt in prompts]:
                raise ValueError("its prompts are others")
            return [_rollout(row, prompt) for row, prompt in zip(rows, prompts, strict=True)]
        except (KeyError, TypeError, ValueError) as error:
            raise ResultError(f"{path} is no round of this run: {error}", _REMEDY) from error

    def rewards(self, step: int) -> list[float]:
        """Rewards of the held-out prompts after a step, in their order.

        Raises:
            ResultError: The file cannot be read.
        """
        rewards: list[float] = self._table(self.path(step, "valid"))["reward"].to_pylist()
        return rewards

    def _table(self, path: Path) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        try:
            return parquet.read_table(path, partitioning=None)
        except (OSError, pa.ArrowException) as error:
            raise ResultError(f"cannot read {path}: {error}", _REMEDY) from error


def mean_divergence(rollout: Rollout) -> float | None:
    """Mean divergence of an answer's tokens from the model before tuning, in nats.

    By the estimator of `divergence`, with the probabilities that the answer was drawn by.
    """
    if rollout.reference is None:
        return None
    difference = rollout.reference.astype(np.float64) - rollout.drawn.logprobs
    return math.fsum(np.exp(difference) - difference - 1) / len(difference)


def _numbers(rollouts: Sequence[Rollout]) -> list[int]:
    """Number of each answer among those to its prompt in a row, from 0."""
    numbers: list[int] = []
    for at, rollout in enumerate(rollouts):
        again = at > 0 and rollouts[at - 1].prompt is rollout.prompt
        numbers.append(numbers[-1] + 1 if again else 0)
    return numbers


def _rollout(row: Mapping[str, Any], prompt: Prompt) -> Rollout:
    def floats(name: str) -> NDArray[np.float32] | None:
        return None if row[name] is None else np.array(row[name], np.float32)

    drawn = Drawn(
        np.array(row["tokens"], np.int32),
        np.array(row["logprobs"], np.float32),
        bool(row["is_finished"]),
    )
    parts = {
        name.removeprefix(_PART): value for name, value in row.items() if name.startswith(_PART)
    }
    judgement = Judgement(row["reward"], parts)
    rollout = Rollout(prompt, drawn, row["text"], judgement, row["advantage"])
    return replace(rollout, reference=floats("reference_logprobs"), old=floats("old_logprobs"))
