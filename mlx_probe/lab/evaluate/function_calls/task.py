"""The task `function-calls`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.answers.errors import UNANSWERED, asked, error_groups
from mlx_probe.lab.evaluate.answers.prediction import Prediction
from mlx_probe.lab.evaluate.answers.question import Question
from mlx_probe.lab.evaluate.function_calls.data import read_questions
from mlx_probe.lab.evaluate.function_calls.execution import Run, executes
from mlx_probe.lab.evaluate.function_calls.metrics import METRICS, item_values
from mlx_probe.lab.evaluate.intervals import mean_record, share_record
from mlx_probe.lab.evaluate.protocol import AnswerTask, Judged
from mlx_probe.lab.function_calls.call import Answer
from mlx_probe.lab.rewards.sandbox import BUILT_IN, Sandbox

__all__ = ["FUNCTION_CALLS"]


def _judge(
    questions: Sequence[Question], found: Mapping[str, Prediction], config: AnswerConfig
) -> Judged:
    with ExitStack() as stack:
        run: Run | None = None
        if config.registered:
            table = BUILT_IN if config.registered == "built-in" else config.registered
            run = stack.enter_context(Sandbox(table)).run
        items = [_item(question, found.get(question.id), run) for question in questions]
    categories = dict.fromkeys(item["category"] for item in items)
    values = {
        "metrics": _metrics(items, config.seed),
        "categories": [
            {
                "category": name,
                "metrics": _metrics([i for i in items if i["category"] == name], config.seed),
            }
            for name in categories
        ],
        "errors": error_groups(items),
    }
    return Judged(values, items)


def _item(question: Question, prediction: Prediction | None, run: Run | None) -> dict[str, Any]:
    # Without an answer nothing was said.
    answer = prediction.answer() if prediction is not None else Answer((), "", UNANSWERED)
    executed = None
    if run is not None:
        executed = executes(answer.calls, question.truth, run)
        # What could not be read did not run either.
        executed = executed if executed is None else executed and answer.malformed is None
    values = item_values(answer, question.truth, question.functions, executed)
    measured = (
        values.parsed,
        values.names,
        values.f1,
        values.schema,
        values.executed,
        values.whole,
    )
    return {
        **asked(question, prediction),
        "values": dict(zip(METRICS, measured, strict=True)),
        "error": UNANSWERED if prediction is None else values.error,
        "detail": values.detail,
    }


def _metrics(items: Sequence[Mapping[str, Any]], seed: int) -> dict[str, dict[str, Any]]:
    """Each over the items that it applies to; without any its value is null: not measured."""
    records = {}
    for name in METRICS:
        values = [item["values"][name] for item in items if item["values"][name] is not None]
        is_mean = name == "parameter_f1"
        records[name] = mean_record(values, seed) if is_mean else share_record(values)
    return records


FUNCTION_CALLS = AnswerTask(
    title="calls of functions in prepared data, by six metrics",
    data=None,
    questions=read_questions,
    judge=_judge,
)
