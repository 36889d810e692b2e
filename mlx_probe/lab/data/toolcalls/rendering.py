"""Examples by a model's own chat template, and how many tokens they are."""

from __future__ import annotations

from pathlib import Path

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.lab.conversation import conversation_text
from mlx_probe.lab.data.tokenizer import Tokenizer, load_tokenizer
from mlx_probe.lab.data.toolcalls.example import Example, Rejected

__all__ = ["open_template", "token_count"]


def open_template(reference: str) -> Tokenizer:
    """The tokenizer of a model, with its chat template.

    Raises:
        SourceError: It cannot be had.
        ConfigError: It has no template.
    """
    try:
        tokenizer = load_tokenizer(reference)
    except SourceError as error:
        # Inside a GGUF file, or in the folder of a training run.
        if "GGUF" not in error.fact and not Path(reference).expanduser().is_dir():
            raise
        from mlx_probe.lab.generate.folder import find_model_folder, tokenizer_folder

        tokenizer = load_tokenizer(tokenizer_folder(find_model_folder(reference)))
    if tokenizer.chat_template is None:
        raise ConfigError(
            f"{tokenizer.folder}: the tokenizer has no chat template",
            "Give another --tokenizer, or none",
        )
    return tokenizer


def token_count(tokenizer: Tokenizer, example: Example, limit: int) -> int:
    """Tokens of an example as a training reads it.

    Args:
        tokenizer: With its template.
        example: Checked.
        limit: Most tokens; 0 for no limit.

    Raises:
        Rejected: The template does not take it, or it is longer.
    """
    try:
        text = conversation_text(
            tokenizer, example.messages, example.tools, add_generation_prompt=False
        )
        count = len(tokenizer.encode_special(text))
    except ConfigError as error:
        raise Rejected("template", error.fact) from error
    if limit and count > limit:
        raise Rejected("too long", f"it has {count} tokens")
    return count
