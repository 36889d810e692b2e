"""Judge the answers of a result by bfcl-eval's checker too.

    python tests/referees/function_calls/agree.py FOLDER

FOLDER is the --out of `mlx-probe evaluate --task bfcl`. Both checkers get the calls that our
reader finds; bfcl-eval has to be installed (`pip install --no-deps bfcl-eval`).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bfcl_cases import bfcl_eval

from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.answers.prediction import read_predictions
from mlx_probe.lab.evaluate.bfcl import CATEGORIES, check_calls
from mlx_probe.lab.evaluate.bfcl.data import SOURCE, read_questions

__all__ = ["agreement"]


def agreement(predictions, source=SOURCE):
    """(answers, those that are right, ids where the checkers differ); of items with a truth."""
    referee = bfcl_eval()
    found = read_predictions(predictions)
    judged = right = 0
    differ = []
    for question in read_questions(source, AnswerConfig()):
        if question.id not in found or not CATEGORIES[question.category].has_truth:
            continue
        answer = found[question.id].answer()
        # What cannot be read is no call: neither checker sees it.
        calls = [] if answer.malformed else [{c.name: dict(c.arguments)} for c in answer.calls]
        arguments = (list(question.functions), calls, question.truth, question.category)
        ours = check_calls(*arguments).error_type
        judged += 1
        right += ours is None
        if ours != referee(*arguments):
            differ.append(question.id)
    return judged, right, differ


if __name__ == "__main__":
    count, accepted, others = agreement(Path(sys.argv[1]) / "predictions.jsonl")
    print(f"{count} answers, {accepted} right, {len(others)} verdicts differ {others[:5]}")
    sys.exit(bool(others))
