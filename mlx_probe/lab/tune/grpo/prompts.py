"""What is asked: questions of prepared conversations, as tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.conversation import conversation_text
from mlx_probe.lab.data.tokenizer import Tokenizer
from mlx_probe.lab.evaluate.answers.question import Question
from mlx_probe.lab.evaluate.function_calls.data import questions_of
from mlx_probe.lab.tune.conversations import Conversation, read_conversations
from mlx_probe.lab.tune.example import Example, Skipped, summary

__all__ = ["Prompt", "Prompts", "read_prompts"]


@dataclass(frozen=True)
class Prompt:
    """A prompt.

    Attributes:
        id: Of the question.
        tokens: (T,), int32, as far as an answer begins.
        question: With the functions and the calls that are right.
    """

    id: str
    tokens: NDArray[np.int32]
    question: Question


@dataclass(frozen=True)
class Prompts:
    """The prompts of both splits.

    Attributes:
        train: To learn from.
        valid: To evaluate with.
        skipped: What is left out.
        max_tokens: Longest that a prompt with its answer may be.
        answer_tokens: Of these, what an answer may take.
        answers: Answers of a round.
        folder: Where they are from.
    """

    train: tuple[Prompt, ...]
    valid: tuple[Prompt, ...]
    skipped: tuple[Skipped, ...]
    max_tokens: int
    answer_tokens: int
    answers: int
    folder: Path

    @property
    def bounds(self) -> Sequence[Example]:
        """A round as long as it may become: what memory has to be there for."""
        longest = max(len(each.tokens) for each in (*self.train, *self.valid))
        tokens = np.zeros(longest + self.answer_tokens, np.int32)
        return [Example("", tokens, np.arange(len(tokens)) >= longest)] * self.answers

    @property
    def mean_tokens(self) -> float:
        """Tokens of a prompt with an answer, at most."""
        return sum(len(each.tokens) for each in self.train) / len(self.train) + self.answer_tokens

    def fingerprint(self) -> str:
        """SHA-256 of all tokens, and of what is right."""
        digest = hashlib.sha256()
        for split in (self.train, self.valid):
            for prompt in split:
                question = prompt.question
                wanted = [[call.name, dict(call.arguments)] for call in question.truth]
                text = json.dumps([wanted, question.tools], sort_keys=True)
                digest.update(prompt.tokens.tobytes() + b"|" + text.encode() + b"\n")
            digest.update(b"--\n")
        return digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Counts, for the metadata."""
        splits = {"train": _counts(self.train), "validation": _counts(self.valid)}
        return summary(self.folder, self.fingerprint(), self.max_tokens, splits, self.skipped)


def read_prompts(
    folder: Path,
    tokenizer: Tokenizer,
    max_tokens: int,
    answer_tokens: int,
    answers: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Prompts:
    """Read the conversations of a folder.

    Each answer of an assistant is a prompt: all that was said before it. What is right are the
    answer's calls, or no call where it has none.

    Args:
        folder: Has the files; see `read_conversations` for them and for other errors.
        tokenizer: The model's, with its chat template.
        max_tokens: Longest that a prompt with its answer may be.
        answer_tokens: Of these, what an answer may take.
        answers: Answers of a round.
        on_progress: Called with bytes read and bytes of both files.

    Raises:
        ConfigError: Answers leave no room for prompts.
    """
    if answer_tokens >= max_tokens:
        raise ConfigError(
            f"grpo.answer_tokens = {answer_tokens} leaves no room for a prompt in "
            f"{max_tokens} tokens",
            "Lower it, or raise data.max_tokens",
        )

    def parse(file: str, number: int, conversation: Conversation) -> Iterator[Prompt | Skipped]:
        return _prompts(file, number, conversation, tokenizer, max_tokens - answer_tokens)

    found = read_conversations(folder, tokenizer, parse, on_progress)
    return Prompts(*found, max_tokens, answer_tokens, answers, folder)


def _prompts(
    file: str, number: int, conversation: Conversation, tokenizer: Tokenizer, room: int
) -> Iterator[Prompt | Skipped]:
    name = conversation["id"]
    try:
        questions = list(questions_of(conversation, number))
    except (ValueError, KeyError, TypeError) as error:
        yield Skipped(file, number, name, "its calls cannot be read", detail=str(error))
        return
    if not questions:
        yield Skipped(file, number, name, "no answer to learn")
    for question in questions:
        try:
            text = conversation_text(tokenizer, question.messages, question.tools)
        except ConfigError as error:
            reason = "the chat template does not take it"
            yield Skipped(file, number, question.id, reason, detail=error.fact)
            continue
        tokens = np.array(tokenizer.encode_special(text), np.int32)
        if len(tokens) > room:
            detail = f"{len(tokens)} of {room} tokens"
            yield Skipped(file, number, question.id, "too long", len(tokens), detail)
            continue
        yield Prompt(question.id, tokens, question)


def _counts(split: Sequence[Prompt]) -> dict[str, int]:
    return {
        "examples": len(split),
        "tokens": sum(len(prompt.tokens) for prompt in split),
        # The model draws them.
        "answer_tokens": 0,
        "longest": max(len(prompt.tokens) for prompt in split),
    }
