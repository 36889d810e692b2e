"""Questions to predictions, in a file that grows by one line for each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from mlx_probe.core.errors import Interrupted
from mlx_probe.core.files import LineWriter, whole_lines, write_error
from mlx_probe.lab.evaluate.answers.prediction import Prediction, read_predictions
from mlx_probe.lab.evaluate.answers.question import Question

__all__ = ["Answerer", "ask_all"]


class Answerer(Protocol):
    """What answers questions."""

    name: str
    concurrency: int

    def identity(self) -> dict[str, Any]:
        """What decides the answers, beside the settings."""

    def facts(self) -> Mapping[str, Any]:
        """What it ran with."""

    def ask(self, question: Question) -> Prediction:
        """Answer one question."""


def ask_all(
    questions: Sequence[Question],
    answerer: Answerer,
    path: Path | None,
    on_progress: Callable[[int, int], None],
) -> dict[str, Prediction]:
    """Ask what has no answer yet.

    Args:
        questions: All of them.
        answerer: Who is asked.
        path: Keeps the answers, and has those of earlier; None keeps none.
        on_progress: Called with questions answered and all of them.

    Raises:
        ResultError: The file cannot be read or written.
        Interrupted: The user stopped it; the answers so far are in the file.
    """
    before = read_predictions(path, is_growing=True) if path and path.exists() else {}
    wanted = {question.id: question.fingerprint for question in questions}
    # An answer to another question of this name is none.
    found = {id: each for id, each in before.items() if wanted.get(id) == each.question}
    rest = [question for question in questions if question.id not in found]
    on_progress(len(found), len(questions))
    if not rest:
        return found
    if path is None:
        for prediction in _answers(answerer, rest):
            found[prediction.id] = prediction
            on_progress(len(found), len(questions))
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(_writer(path)) as writer:
            for prediction in _answers(answerer, rest):
                writer.append(prediction.line())
                found[prediction.id] = prediction
                on_progress(len(found), len(questions))
    except OSError as error:
        raise write_error(path, error) from error
    return found


def _writer(path: Path) -> LineWriter:
    path.touch()
    with path.open("rb") as file:
        end = sum(map(len, whole_lines(file)))
    return LineWriter(path.open("ab", buffering=0), end)


def _answers(answerer: Answerer, questions: Sequence[Question]) -> Iterator[Prediction]:
    """Answers as they come."""
    if answerer.concurrency == 1:
        yield from map(answerer.ask, questions)
        return
    pool = ThreadPoolExecutor(answerer.concurrency)
    futures = [pool.submit(answerer.ask, each) for each in questions]
    failure: Exception | None = None
    try:
        for future in as_completed(futures):
            if future.cancelled():
                continue
            if (error := future.exception()) is None:
                yield future.result()
            elif failure is None:
                failure = error if isinstance(error, Exception) else RuntimeError(str(error))
                # What is being answered just now is still kept.
                for each in futures:
                    each.cancel()
    except KeyboardInterrupt as error:
        raise Interrupted(
            "the evaluation was interrupted", "The same command goes on with the next question"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    if failure is not None:
        raise failure
