"""The task `bfcl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.answers.errors import UNANSWERED, asked, error_groups
from mlx_probe.lab.evaluate.answers.prediction import Prediction
from mlx_probe.lab.evaluate.answers.prompting import PROMPTING
from mlx_probe.lab.evaluate.answers.question import Question
from mlx_probe.lab.evaluate.bfcl.categories import CATEGORIES
from mlx_probe.lab.evaluate.bfcl.check import check_calls
from mlx_probe.lab.evaluate.bfcl.data import SOURCE, read_questions
from mlx_probe.lab.evaluate.bfcl.decode import decode_prompted
from mlx_probe.lab.evaluate.bfcl.faulty import fault_of
from mlx_probe.lab.evaluate.bfcl.verdict import Verdict
from mlx_probe.lab.evaluate.intervals import share_record
from mlx_probe.lab.evaluate.protocol import AnswerTask, Judged

__all__ = ["BFCL", "verdict_of"]

_FAILED = "ast_decoder:decoder_failed"


def verdict_of(question: Question, prediction: Prediction, python: bool) -> Verdict:
    """The leaderboard's verdict on an answer.

    Args:
        question: The question.
        prediction: The answer.
        python: Whether the leaderboard's reader of Python calls reads it; otherwise `read_answer`,
            which reads JSON, <tool_call> blocks, a server's calls and Python.

    Raises:
        ConfigError: The item contradicts itself.
    """
    calls: Any
    if python and not prediction.tool_calls:
        try:
            calls = decode_prompted(prediction.spoken)
        except ValueError as error:
            calls, why = None, str(error)
    else:
        answer = prediction.answer()
        calls, why = (answer.calls, "") if answer.malformed is None else (None, answer.malformed)
        if calls is None and not CATEGORIES[question.category].has_truth:
            # What can be read of it is a call, or is none.
            calls = answer.calls
    if calls is None:
        if CATEGORIES[question.category].has_truth:
            return Verdict(False, _FAILED, (why,))
        calls = ()
    return check_calls(question.functions, calls, question.truth, question.category)


def _judge(
    questions: Sequence[Question], found: Mapping[str, Prediction], config: AnswerConfig
) -> Judged:
    python = PROMPTING[config.prompting].python
    items = [_item(question, found.get(question.id), python) for question in questions]
    values = {
        "accuracy": share_record([item["values"]["accuracy"] for item in items]),
        "accuracy_without_faulty": share_record(
            [item["values"]["accuracy"] for item in items if not item["fault"]]
        ),
        "categories": [_category(name, items) for name in CATEGORIES if _of(name, items)],
        "errors": error_groups(items),
        "faulty": [{"id": i["id"], "reason": i["fault"]} for i in items if i["fault"]],
    }
    return Judged(values, items)


def _item(question: Question, prediction: Prediction | None, python: bool) -> dict[str, Any]:
    fault = fault_of(question) if CATEGORIES[question.category].has_truth else None
    verdict = Verdict(False, UNANSWERED)
    if prediction is not None:
        try:
            verdict = verdict_of(question, prediction, python)
        except ConfigError as error:
            # The leaderboard's checker ends with an exception: nobody can be right.
            verdict = Verdict(False, "faulty_item", (error.fact,))
    values: dict[str, Any] = {"accuracy": verdict.valid, "strict": verdict.valid}
    if CATEGORIES[question.category].kind == "irrelevance" and prediction is not None:
        values["strict"] = verdict.valid and _says_no_call(prediction)
    return {
        **asked(question, prediction),
        "values": values,
        "error": verdict.error_type,
        "detail": "; ".join(verdict.errors),
        "fault": fault,
    }


def _says_no_call(prediction: Prediction) -> bool:
    """Whether an answer is words, and neither a call that cannot be read nor nothing."""
    answer = prediction.answer()
    return not answer.calls and answer.malformed is None and bool(prediction.spoken.strip())


def _of(category: str, items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [item for item in items if item["category"] == category]


def _category(name: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    own = _of(name, items)
    strict = CATEGORIES[name].kind == "irrelevance"
    return {
        "category": name,
        "accuracy": share_record([item["values"]["accuracy"] for item in own]),
        # The leaderboard takes broken calls for none; here they are failures.
        "strict": share_record([item["values"]["strict"] for item in own]) if strict else None,
        "faulty": sum(item["fault"] is not None for item in own),
    }


BFCL = AnswerTask(
    title="calls of functions as the Berkeley leaderboard judges them, single turns of Python",
    data=SOURCE,
    questions=read_questions,
    judge=_judge,
)
