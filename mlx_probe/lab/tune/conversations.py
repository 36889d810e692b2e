"""Files of conversations, line by line: what is in them, and what is left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.lab.data.tokenizer import Tokenizer
from mlx_probe.lab.tune.example import Skipped

__all__ = ["Conversation", "read_conversations"]

TRAIN, VALID = "train.jsonl", "valid.jsonl"
# Longer lines are no conversations that anyone trains on.
MAX_LINE = 64 << 20

Item = TypeVar("Item")
# "id", "messages" and "tools" of a line.
Conversation = Mapping[str, Any]


def read_conversations(
    folder: Path,
    tokenizer: Tokenizer,
    parse: Callable[[str, int, Conversation], Iterator[Item | Skipped]],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[tuple[Item, ...], tuple[Item, ...], tuple[Skipped, ...]]:
    """Read train.jsonl and valid.jsonl.

    A line is an object with "messages" and, if there are some, "tools": what `mlx-probe data
    toolcalls` writes and mlx-lm reads.

    Args:
        folder: Has the files.
        tokenizer: The model's, with its chat template.
        parse: Makes of a file's name, a line's number and its conversation what is used, and
            what is left out.
        on_progress: Called with bytes read and bytes of both files.

    Returns:
        What is used of either file, and what is left out or cut.

    Raises:
        SourceError: A file is missing or cannot be read.
        ConfigError: Nothing is left in one, or the model has no chat template.
    """
    if tokenizer.chat_template is None:
        raise ConfigError(
            f"{tokenizer.folder}: the tokenizer has no chat template",
            "Add chat_template.jinja there",
        )
    paths = [folder / TRAIN, folder / VALID]
    for path in paths:
        if not path.is_file():
            raise SourceError(
                f"{path} does not exist",
                "Prepare the data with `mlx-probe data toolcalls SOURCE --out DIR`",
            )
    total, done = sum(path.stat().st_size for path in paths), 0
    splits: list[tuple[Item, ...]] = []
    skipped: list[Skipped] = []
    for path in paths:
        found: list[Item] = []
        for number, line in _lines(path):
            done += len(line)
            for part in _read_line(path.name, number, line, parse):
                if isinstance(part, Skipped):
                    skipped.append(part)
                else:
                    # What was cut is both.
                    found.append(part)
            on_progress(done, total)
        if not found:
            reasons = Counter(each.reason for each in skipped if each.file == path.name)
            why = "; ".join(f"{reason} ({count})" for reason, count in reasons.items())
            raise ConfigError(
                f"{path} leaves no example: {why or 'it is empty'}",
                "Raise data.max_tokens, set data.too_long=cut, or correct the file",
            )
        splits.append(tuple(found))
    return splits[0], splits[1], tuple(skipped)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from enumerate(file, 1)
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror}", "Check its permissions"
        ) from error


def _read_line(
    file: str,
    number: int,
    line: bytes,
    parse: Callable[[str, int, Conversation], Iterator[Item | Skipped]],
) -> Iterator[Item | Skipped]:
    if not line.strip():
        return
    try:
        entry: Any = json.loads(line) if len(line) <= MAX_LINE else None
        messages, tools = _conversation(entry)
    except (ValueError, RecursionError) as error:
        yield Skipped(file, number, "", "no conversation", detail=str(error))
        return
    name = str(entry.get("id", f"line {number}"))
    yield from parse(file, number, {"id": name, "messages": messages, "tools": tools})


def _conversation(
    entry: Any,
) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    """Messages and tools of a line.

    Raises:
        ValueError: There are none.
    """
    if not isinstance(entry, dict):
        raise ValueError("no JSON object")
    messages, tools = entry.get("messages"), entry.get("tools") or []
    if messages is None and {"prompt", "completion"} <= entry.keys():
        messages = [
            {"role": "user", "content": entry["prompt"]},
            {"role": "assistant", "content": entry["completion"]},
        ]
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages are missing")
    if not all(isinstance(each, dict) and isinstance(each.get("role"), str) for each in messages):
        raise ValueError("a message is no object with a role")
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise ValueError("tools are no list of objects")
    return messages, tools
