"""Conversations as tokens, and which of them the assistant writes.

A conversation is rendered by the model's own chat template, once as far as an answer begins and
once as far as it ends. Where the tokens of the one begin with those of the other, what is between
them is the answer: exactly what the model has to write when it is given what stands before it. A
template that writes earlier answers in another way (Qwen3's leaves out their thoughts) breaks
that for whole conversations; each answer becomes an example of its own then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.conversation import conversation_text
from mlx_probe.lab.data.tokenizer import Tokenizer

__all__ = ["Rendered", "TemplateError", "render"]


class TemplateError(ConfigError):
    """A template from which it cannot be seen where an answer begins."""


@dataclass(frozen=True)
class Rendered:
    """Tokens of a conversation, or of its part as far as an answer ends.

    Attributes:
        tokens: (T,), int32.
        learned: (T,), whether the assistant writes the token.
    """

    tokens: NDArray[np.int32]
    learned: NDArray[np.bool_]


def render(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
) -> list[Rendered]:
    """The examples of a conversation: one, or one for each answer; see the module.

    An answer ends with the token that ends a message; what a template writes behind it, such as a
    line end, is nothing that a model is asked for.

    Args:
        tokenizer: The model's.
        messages: The conversation.
        tools: Functions that may be called, in OpenAI's form.

    Returns:
        None where the assistant says nothing.

    Raises:
        TemplateError: Not even a single answer begins with what it is asked by.
        ConfigError: The template does not take the messages.
    """
    answers = [i for i, message in enumerate(messages) if message.get("role") == "assistant"]
    if not answers:
        return []

    def ids(count: int, prompt: bool) -> list[int]:
        text = conversation_text(tokenizer, messages[:count], tools, prompt)
        return tokenizer.encode_special(text)

    stops = set(tokenizer.stop_ids)
    spans = [(ids(i, True), ids(i + 1, False)) for i in answers]
    # What follows the last answer, nobody learns.
    whole = spans[-1][1]
    if all(_begins(whole, begin) and _begins(whole, end) for begin, end in spans):
        return [_learned(whole, [(len(begin), len(end)) for begin, end in spans], stops)]
    parts = []
    for begin, end in spans:
        if not _begins(end, begin):
            raise TemplateError(
                f"{tokenizer.folder}: the chat template writes a conversation with an answer in "
                "another way than the one that asks for it: where the answer begins is unknown",
                "Give a template whose text only grows, such as ChatML, as chat_template.jinja",
            )
        parts.append(_learned(end, [(len(begin), len(end))], stops))
    return parts


def _begins(tokens: Sequence[int], with_these: Sequence[int]) -> bool:
    return list(tokens[: len(with_these)]) == list(with_these)


def _learned(tokens: Sequence[int], spans: Sequence[tuple[int, int]], stops: set[int]) -> Rendered:
    mask = np.zeros(len(tokens), bool)
    last = 0
    for begin, end in spans:
        ends = [i for i in range(begin, end) if tokens[i] in stops]
        last = ends[-1] + 1 if ends else end
        mask[begin:last] = True
    # Nothing behind the last answer has to be read.
    return Rendered(np.array(tokens[:last], np.int32), mask[:last])
