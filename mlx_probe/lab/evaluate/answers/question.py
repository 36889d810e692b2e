"""A question with functions that may be called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = ["Question"]


@dataclass(frozen=True)
class Question:
    """What a model is asked.

    Attributes:
        id: Its name; no other question has it.
        category: What kind of question it is.
        messages: The conversation so far, in OpenAI's form.
        tools: Functions that may be called, in OpenAI's form.
        functions: The same as the task's checker needs them.
        truth: What is right, as the task's checker needs it.
    """

    id: str
    category: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    functions: tuple[Mapping[str, Any], ...]
    truth: Any

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that say whether the question is the one that was answered before."""
        asked = json.dumps([self.messages, self.tools], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()[:16]
