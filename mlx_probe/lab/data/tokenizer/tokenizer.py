"""A tokenizer in a folder: text to ids and back, with the ids that transformers and mlx-lm give.

Uses the `tokenizers` library alone: transformers takes seconds to import.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.lab.data.tokenizer.special import CHAT_END
from mlx_probe.lab.data.tokenizer.token_bytes import count_token_bytes
from mlx_probe.lab.data.tokenizer.word_cache import word_cache

if TYPE_CHECKING:
    import tokenizers
    from numpy.typing import NDArray

__all__ = ["TOKENIZER_FILES", "Tokenizer", "open_tokenizer"]

# All that belongs to a tokenizer and is copied with a model; only the first has to be there.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "tokenizer.model",
)


# Spaces and line ends, U+2581, Unicode that normal forms change, rare characters of all planes.
_SAMPLE = (
    "To be, or not to be: that is the question.\n",
    " leading", "trailing ", "two  spaces", "\ttab\r\n\n", "\u2581", "<|im_start|></s><unk>",
    "cafe\u0301 \ufb01 \u2126 \u212b", "don 't , .", "\u5e8a\u524d\u660e\u6708\u5149",
    "\U0001f469\u200d\U0001f467 \ue000\U0010ffff", "\x00\x01\x7f\x85\u2028\ufeff",
)  # fmt: skip


class Tokenizer:
    """Encodes text and decodes ids.

    Attributes:
        folder: Where its files are.
        vocabulary: Number of ids, special tokens included.
        bos_id: The token that begins a text; None if there is none.
        eos_id: The token that ends a document; None if there is none.
        pad_id: The token that fills a batch; None if there is none.
        special_ids: Ids that stand for no text.
        chat_template: Jinja; None if there is none.
    """

    def __init__(
        self, folder: Path, content: str, config: Mapping[str, Any], template: str | None
    ) -> None:
        """Read a tokenizer; `open_tokenizer` does it from a folder.

        Args:
            folder: Where its files are.
            content: tokenizer.json.
            config: tokenizer_config.json.
            template: chat_template.jinja.

        Raises:
            SourceError: The content is damaged.
        """
        # Serial, unless the user asks for more: jobs run in several processes, and a forked one
        # must not wait for threads that it does not have.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer as Backend

        self.folder = folder
        self._content = content
        try:
            self._described: dict[str, Any] = json.loads(content)
            self._backend = Backend.from_str(content)
        # The library raises plain Exception for what it cannot read.
        except Exception as error:
            raise SourceError(
                f"{folder / 'tokenizer.json'} is damaged: {error}",
                "Get the file again, or train the tokenizer anew",
            ) from error
        self._backend.no_truncation()
        self._backend.no_padding()
        # Text is text, even where it looks like a special token.
        self._backend.encode_special_tokens = True
        self._words = word_cache(self._backend, self._described)
        ids = self._backend.get_vocab(with_added_tokens=True)
        self.vocabulary = max(ids.values(), default=-1) + 1
        self.bos_id = ids.get(_named(config, "bos_token"))
        self.eos_id = ids.get(_named(config, "eos_token"))
        self.pad_id = ids.get(_named(config, "pad_token"))
        added = self._described.get("added_tokens", ())
        self.special_ids = frozenset(token["id"] for token in added if token["special"])
        self.chat_template = template if template is not None else _default(config)
        self._names = {
            key: _named(config, key) for key in ("bos_token", "eos_token", "pad_token", "unk_token")
        }

    def encode(self, text: str) -> list[int]:
        """The ids of a text; none of them is a special token.

        Raises:
            ConfigError: The text has half a surrogate pair, which no encoding of Unicode has.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of several texts; see `encode`."""
        return [self.encode_array(text).tolist() for text in texts]

    def encode_array(self, text: str) -> NDArray[np.uint32]:
        """The ids of a text as an array; see `encode`. The fastest way."""
        try:
            if self._words is not None:
                return self._words.encode(text)
            encoding = self._backend.encode_batch_fast([text], add_special_tokens=False)[0]
        except TypeError:
            _refuse_surrogates(text)
            raise
        return np.array(encoding.ids, np.uint32)

    def encode_special(self, text: str) -> list[int]:
        """The ids of a text in which special tokens are written out, as `chat` writes them."""
        with_special = self._with_special
        ids: list[int] = with_special.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        """The text of ids.

        Args:
            ids: Any; ids that no token has are left out. Bytes that are no UTF-8 become U+FFFD.
            special: Whether special tokens are written out; otherwise they are left out.
        """
        known = [int(number) for number in ids if 0 <= number < self.vocabulary]
        text: str = self._backend.decode(known, skip_special_tokens=not special)
        return text

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """The text of a conversation by the chat template; `encode_special` gives its ids.

        `mlx_probe.lab.conversation` is for templates that have no place for tools.

        Args:
            messages: Each with "role" ("system", "user" or "assistant") and "content".
            add_generation_prompt: Whether the text ends with what an answer begins with.
            tools: Functions that may be called, in OpenAI's form; a template may ignore them.

        Raises:
            ConfigError: There is no template, or it does not take the messages.
        """
        if self.chat_template is None:
            raise ConfigError(
                f"{self.folder}: the tokenizer has no chat template",
                "Give a prompt instead of messages, or add chat_template.jinja there",
            )
        from jinja2 import TemplateError
        from transformers.utils import chat_template_utils

        render: Any = chat_template_utils.render_jinja_template  # not annotated throughout
        names = {key: name for key, name in self._names.items() if name is not None}
        try:
            rendered, _ = render(
                conversations=[[dict(message) for message in messages]],
                chat_template=self.chat_template,
                tools=[dict(tool) for tool in tools] or None,
                add_generation_prompt=add_generation_prompt,
                **names,
            )
        except (TemplateError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{self.folder}: the chat template does not take these messages: {error}",
                "Give each message a role and content, in the order that the template wants",
            ) from error
        text: str = rendered[0]
        return text

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids at which generation ends: the end of a document, and of a message of ChatML."""
        end = self._backend.token_to_id(CHAT_END)
        return tuple(number for number in (self.eos_id, end) if number is not None)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, as 64 hex digits, of what decides the ids: tokenizer.json, and the end token."""
        digest = hashlib.sha256(self._content.encode())
        digest.update(f"\n{self.bos_id} {self.eos_id}".encode())
        return digest.hexdigest()

    @cached_property
    def exact_round_trip(self) -> bool:
        """Whether a fixed sample of texts, among them rare ones, comes back from its ids.

        True for all texts where the tokenizer was trained here. Many published ones strip a
        space, normalize, or have no ids for some characters.
        """
        return all(self.decode(self.encode(text)) == text for text in _SAMPLE)

    def token_bytes(self) -> NDArray[np.int32]:
        """UTF-8 bytes of the text of each id; 0 for special tokens. See `count_token_bytes`."""
        ids = self._backend.get_vocab(with_added_tokens=True)
        return count_token_bytes(ids, self.vocabulary, set(self.special_ids), self._described)

    @cached_property
    def _with_special(self) -> tokenizers.Tokenizer:
        from tokenizers import Tokenizer as Backend

        backend = Backend.from_str(self._content)
        backend.no_truncation()
        backend.no_padding()
        return backend


def open_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer in a folder that has tokenizer.json.

    Raises:
        SourceError: A file is missing or damaged.
    """
    content = _read(folder / "tokenizer.json")
    if content is None:
        raise SourceError(
            f"{folder} has no tokenizer.json", "Give a folder with a tokenizer, or train one"
        )
    path = folder / "tokenizer_config.json"
    try:
        config = json.loads(_read(path) or "{}")
    except ValueError as error:
        raise SourceError(f"{path} is damaged: {error}", "Get the file again") from error
    if not isinstance(config, dict):
        raise SourceError(f"{path} is damaged: no JSON object", "Get the file again")
    template = _read(folder / "chat_template.jinja")
    return Tokenizer(folder, content, config, template)


def _read(path: Path) -> str | None:
    """A text file; None if it is not there."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeError) as error:
        raise SourceError(f"cannot read {path}: {error}", "Get the file again") from error


def _named(config: Mapping[str, Any], key: str) -> str:
    """The spelling of a token with a role; "" if there is none."""
    token = config.get(key)
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _default(config: Mapping[str, Any]) -> str | None:
    """The template in tokenizer_config.json, where older files have it."""
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"a text has half a surrogate pair at character {error.start}",
            "Replace it: text.encode('utf-8', 'replace').decode()",
        ) from error
