"""What the requests ask: prompts of a file, or random ones."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.load_test.config import LoadTestConfig

if TYPE_CHECKING:
    from mlx_probe.lab.data.tokenizer import Tokenizer

__all__ = ["Prompt", "make_prompts"]

# Common words, which most tokenizers know as one token each.
_WORDS = (
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world",
    "school", "state", "family", "student", "group", "country", "problem", "hand", "part",
    "place", "case", "week", "company", "system", "program", "question", "work", "government",
    "number", "night", "point", "home", "water", "room", "mother", "area", "money", "story",
    "fact", "month", "lot", "right", "study", "book", "eye", "job", "word", "business", "issue",
    "side", "kind", "head", "house", "service", "friend", "father", "power", "hour", "game",
    "line", "end", "member", "law", "car", "city", "community", "name", "president", "team",
    "minute", "idea", "body", "information", "back", "parent", "face", "others", "level",
    "office", "door", "health", "person", "art", "war", "history", "party", "result", "change",
    "morning", "reason", "research", "girl", "guy", "moment", "air", "teacher", "force",
    "education",
)  # fmt: skip
# Keys of a line that a request takes over.
_PASSED = ("tools", "tool_choice", "response_format")
_LENGTHS = ("output_len", "max_tokens", "output_tokens")
_REMEDY = "Write a JSON object with prompt or messages in each line"


@dataclass(frozen=True)
class Prompt:
    """One request.

    Attributes:
        text: The prompt; "" if there are messages.
        messages: The conversation; None for a plain prompt.
        output_len: Tokens to ask for.
        more: Other keys of the request, such as tools.
    """

    text: str
    messages: tuple[dict[str, Any], ...] | None
    output_len: int
    more: dict[str, Any]

    def body(self, backend: str, model: str, config: LoadTestConfig) -> dict[str, Any]:
        """The request as JSON has it."""
        common: dict[str, Any] = {
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": self.output_len,
        }
        if config.temperature is not None:
            common["temperature"] = config.temperature
        if config.ignore_eos:
            common["ignore_eos"] = True
        if backend == "openai":
            asked: dict[str, Any] = {"prompt": self.text}
        else:
            said = self.messages or ({"role": "user", "content": self.text},)
            asked = {"messages": list(said)}
        return {**common, **asked, **self.more, **config.extra_body}


def make_prompts(config: LoadTestConfig, tokenizer: Tokenizer | None) -> list[Prompt]:
    """The prompts of a test, the same for the same seed.

    Args:
        config: `dataset_path` or `random_input_len`, `num_prompts`, `output_len`, `seed`.
        tokenizer: Makes random prompts exactly as long as asked; None counts words.

    Raises:
        ConfigError: The file cannot be read, or a line of it is no prompt.
    """
    draw = random.Random(config.seed)
    if config.dataset_path is None:
        return [
            Prompt(_words(draw, config.random_input_len, tokenizer), None, config.output_len, {})
            for _ in range(config.num_prompts)
        ]
    prompts = _read(config.dataset_path, config)
    draw.shuffle(prompts)
    # A file that is too short is used several times.
    return [prompts[number % len(prompts)] for number in range(config.num_prompts)]


def _words(draw: random.Random, length: int, tokenizer: Tokenizer | None) -> str:
    words = draw.choices(_WORDS, k=length)
    if tokenizer is None:
        return " ".join(words)
    # The most words that fit, then short ones for what is left of the tokens.
    low, high = 0, length
    while low < high:
        middle = (low + high + 1) // 2
        fits = len(tokenizer.encode(" ".join(words[:middle]))) <= length
        low, high = (middle, high) if fits else (low, middle - 1)
    text = " ".join(words[:low])
    for filler in (" a", " I", "a", "."):
        while len(tokenizer.encode(text + filler)) <= length:
            text += filler
    return text


def _read(path: Path, config: LoadTestConfig) -> list[Prompt]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read {path}: {reason}", "Name a JSONL file") from error
    prompts = [
        _prompt(line, f"{path}:{number}", config)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not prompts:
        raise ConfigError(f"{path} has no prompt", _REMEDY)
    return prompts


def _prompt(line: str, where: str, config: LoadTestConfig) -> Prompt:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where} is no JSON: {error}", _REMEDY) from error
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} is no JSON object", _REMEDY)
    lengths = [entry[key] for key in _LENGTHS if key in entry]
    length = lengths[0] if lengths else config.output_len
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise ConfigError(f"{where}: the length of the output is {length!r}", "Give 1 or more")
    more = {key: entry[key] for key in _PASSED if key in entry}
    messages, text = entry.get("messages"), entry.get("prompt")
    if isinstance(messages, list) and all(isinstance(message, dict) for message in messages):
        if config.backend == "openai":
            raise ConfigError(f"{where} has messages", "Use --backend openai-chat, or a prompt")
        asked = _without_answer(messages)
        if asked:
            return Prompt("", tuple(asked), length, more)
    elif isinstance(text, str):
        return Prompt(text, None, length, more)
    raise ConfigError(f"{where} has no prompt", _REMEDY)


def _without_answer(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation up to what the server is to say: data to train on end with its answer."""
    end = len(messages)
    while end and messages[end - 1].get("role") == "assistant":
        end -= 1
    return list(messages[:end])
