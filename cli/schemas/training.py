"""Documents about training runs: their report on a terminal."""

from __future__ import annotations

from .answers import COMPARISON
from .shape import (
    ANYTHING,
    INTEGER,
    NUMBER,
    TEXT,
    Schema,
    listed,
    mapping,
    nullable,
    one_of,
    record,
)

__all__ = ["TRAINING"]

_OUTCOME = record(
    {
        "state": (
            one_of(("finished", "stopped early", "running", "interrupted")),
            "How far training is.",
        ),
        "steps_done": (INTEGER, "The last step with a line of metrics."),
        "planned_steps": (nullable(INTEGER), "Steps of the whole training."),
        "tokens": (nullable(INTEGER), "Tokens seen."),
        "seconds": (nullable(NUMBER), "Seconds of training."),
        "tokens_per_second": (nullable(NUMBER), "Median over the steps."),
        "train_loss": (nullable(NUMBER), "Median of the last 50 steps, in nats a token."),
        "first_reward": (nullable(NUMBER), "Mean reward of held-out prompts before training."),
        "last_reward": (nullable(NUMBER), "The same at the last evaluation."),
        "best_bpb": (nullable(NUMBER), "Least bits per byte of the validation text."),
        "best_bpb_step": (nullable(INTEGER), "The step that has it."),
        "best_loss": (nullable(NUMBER), "Validation loss there, in nats a token."),
        "last_bpb": (nullable(NUMBER), "Bits per byte of the last evaluation."),
        "last_bpb_step": (nullable(INTEGER), "Its step."),
    }
)

_STATEMENT = record(
    {
        "topic": (TEXT, "What it is about: outcome, settled, moving, heavy_tails, rank ..."),
        "sentence": (TEXT, "The sentence."),
        "matrices": (listed(TEXT), "Matrices that it is about."),
        "evidence": (mapping(ANYTHING), "Numbers behind it."),
    }
)

_POINT = record(
    {
        "step": (INTEGER, "Of the snapshot."),
        "tensor": (TEXT, "Name."),
        "group": (TEXT, "Kind of tensor."),
        "layer": (nullable(INTEGER), "Null outside the layers."),
        "value": (NUMBER, "The number."),
    }
)

_SAMPLE = record(
    {
        "step": (INTEGER, "When it was written."),
        "prompt": (TEXT, "What it continues."),
        "text": (TEXT, "What the model wrote."),
    }
)

_FIGURES = {
    "relative_change": (nullable(NUMBER), "Norm of the change over that of the base."),
    "cosine": (nullable(NUMBER), "Between base and tuned weights."),
    "delta_rank": (nullable(NUMBER), "Rank of the change."),
    "delta_energy_rank_90": (nullable(NUMBER), "Directions that hold 90 % of the change."),
    "delta_effective_rank": (nullable(NUMBER), "Effective rank of the change."),
    "left_overlap": (nullable(NUMBER), "Overlap of the leading directions, output side."),
    "right_overlap": (nullable(NUMBER), "The same, input side."),
    "intruder_count": (nullable(NUMBER), "Intruder dimensions, output side."),
}

_DIFFERENCE = record(
    {
        "step": (INTEGER, "Of the snapshot."),
        "kinds": (
            listed(
                record(
                    {
                        "kind": (TEXT, "Kind of tensor."),
                        "changed": (INTEGER, "Tensors of it that changed; the rest are medians."),
                        **_FIGURES,
                    }
                )
            ),
            "By kind of tensor.",
        ),
        "tensors": (
            listed(record({"tensor": (TEXT, "Name."), **_FIGURES})),
            "The tensors that moved most, ten at most.",
        ),
        "layers": (
            listed(
                record(
                    {
                        "layer": (nullable(INTEGER), "Null outside the layers."),
                        "changed": (INTEGER, "Tensors that changed."),
                        "compared": (INTEGER, "All of them."),
                        "relative_change": (nullable(NUMBER), "Of all of them together."),
                    }
                )
            ),
            "The layers that moved most, ten at most.",
        ),
    }
)

_RUN = record(
    {
        "run": (TEXT, "The run folder."),
        "name": (TEXT, "A name that no other run here has."),
        "kind": (one_of(("train", "tune")), "The command that made it."),
        "outcome": (_OUTCOME, "What came out of it."),
        "statements": (listed(_STATEMENT), "What happened, in words."),
        "evaluations": (
            listed(mapping(nullable(NUMBER))),
            "The lines of metrics with an evaluation; null where a line has no such number.",
        ),
        "snapshots": (
            listed(INTEGER),
            "Steps of the snapshots: measured, or compared with the base.",
        ),
        "difference": (
            nullable(_DIFFERENCE),
            "Of a tuning, what its last compared snapshot differs in from the base.",
        ),
        "samples": (listed(_SAMPLE), "Samples of text."),
        "metrics": (
            listed(
                record(
                    {
                        "name": (TEXT, "Column."),
                        "points": (listed(_POINT), "One for each tensor and snapshot."),
                    }
                )
            ),
            "The columns of --metric, or the usual ones.",
        ),
    }
)

TRAINING: Schema = record(
    {
        "kind": (one_of(("train",)), "That these are runs of train or tune."),
        "runs": (listed(_RUN), "In the order in which they were named."),
        "evaluation": (nullable(COMPARISON), "With --before and --after, as of evaluate."),
    }
)
