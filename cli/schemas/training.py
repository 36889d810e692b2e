"""Documents about training runs: their report on a terminal."""

from __future__ import annotations

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

_RUN = record(
    {
        "run": (TEXT, "The run folder."),
        "name": (TEXT, "A name that no other run here has."),
        "outcome": (_OUTCOME, "What came out of it."),
        "statements": (listed(_STATEMENT), "What happened, in words."),
        "evaluations": (
            listed(mapping(nullable(NUMBER))),
            "The lines of metrics with an evaluation; null where a line has no such number.",
        ),
        "snapshots": (listed(INTEGER), "Steps of the measured snapshots."),
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
        "kind": (one_of(("train",)), "The command that made the runs."),
        "runs": (listed(_RUN), "In the order in which they were named."),
    }
)
