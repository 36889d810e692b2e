"""From a prompt to text."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.generate.cache import new_cache
from mlx_probe.lab.generate.config import GenerateConfig
from mlx_probe.lab.generate.loading import LoadedModel
from mlx_probe.lab.generate.sampling import Sampler
from mlx_probe.lab.generate.steps import generate_tokens
from mlx_probe.lab.generate.text_stream import TextStream

__all__ = ["FinishReason", "Generation", "chat_tokens", "generate", "prompt_tokens"]

FinishReason = Literal["stop", "length", "interrupted"]


@dataclass(frozen=True)
class Generation:
    """What a model has written.

    Attributes:
        text: The text after the prompt, without a stop text.
        tokens: Its tokens, the one that ended it included.
        prompt_tokens: Tokens of the prompt.
        finish_reason: "stop" at a token or text that ends it, "length" where all tokens are made
            or the context is full, "interrupted" by Ctrl-C.
        prompt_seconds: Until the first token.
        seconds: From the first token to the last.
    """

    text: str
    tokens: tuple[int, ...]
    prompt_tokens: int
    finish_reason: FinishReason
    prompt_seconds: float
    seconds: float

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens a second after the first one; None for a single token."""
        made = len(self.tokens) - 1
        return made / self.seconds if made > 0 and self.seconds > 0 else None


def prompt_tokens(loaded: LoadedModel, text: str) -> list[int]:
    """The tokens of a text that the model is to continue.

    Raises:
        ConfigError: It has none, and the model has no token to begin with.
    """
    tokens = [*loaded.first, *loaded.tokenizer.encode(text)]
    if not tokens:
        begin = loaded.tokenizer.bos_id, loaded.tokenizer.eos_id
        # Documents are separated by the end token: after one a new document begins.
        tokens = [token for token in begin if token is not None][:1]
    if not tokens:
        raise ConfigError("the prompt is empty", "Give some text with --prompt")
    return tokens


def chat_tokens(loaded: LoadedModel, text: str, system: str | None = None) -> list[int]:
    """The tokens of a conversation with one message, by the model's chat template.

    Args:
        loaded: The model.
        text: What the user says.
        system: A message before it; None for none.

    Raises:
        ConfigError: The model has no chat template, or its template takes no such messages.
    """
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages.append({"role": "user", "content": text})
    return loaded.tokenizer.encode_special(loaded.tokenizer.chat(messages))


def generate(
    loaded: LoadedModel,
    prompt: str | Sequence[int],
    config: GenerateConfig | None = None,
    on_text: Callable[[str], None] = lambda piece: None,
) -> Generation:
    """Continue a prompt until a token or text that ends it, or until there is no room.

    Args:
        loaded: The model.
        prompt: Text, or the tokens of `prompt_tokens` or `chat_tokens`.
        config: How much, and how.
        on_text: Called with each piece of text; the pieces together are the text.

    Raises:
        ConfigError: The prompt leaves no room in the model's context.
        CheckpointError: The model's logits are no numbers.
    """
    config = config or GenerateConfig()
    if isinstance(prompt, str):
        prompt = prompt_tokens(loaded, prompt)
    count = _room(loaded, prompt, config.max_tokens)
    stream = TextStream(loaded.tokenizer.decode, prompt, config.stop)
    sampler = Sampler(config.sampling, prompt)
    tokens: list[int] = []
    reason: FinishReason = "length"
    start = first = time.perf_counter()
    try:
        for token in generate_tokens(loaded.model, new_cache(loaded.model), prompt, sampler, count):
            if not tokens:
                first = time.perf_counter()
            tokens.append(token)
            if token in loaded.stops:
                reason = "stop"
                break
            piece = stream.add(token)
            if piece:
                on_text(piece)
            if stream.stopped:
                reason = "stop"
                break
    except KeyboardInterrupt:
        reason = "interrupted"
    end = time.perf_counter()
    rest = stream.finish()
    if rest:
        on_text(rest)
    return Generation(stream.text, tuple(tokens), len(prompt), reason, first - start, end - first)


def _room(loaded: LoadedModel, prompt: Sequence[int], wanted: int) -> int:
    if loaded.context is None:
        return wanted
    # The last token is drawn, and not read by the model.
    room = loaded.context - len(prompt) + 1
    if room < 1:
        raise ConfigError(
            f"the prompt has {len(prompt)} tokens, more than the {loaded.context} of the context "
            f"of {loaded.name}",
            "Shorten the prompt, or choose a model with a longer context",
        )
    return min(wanted, room)
