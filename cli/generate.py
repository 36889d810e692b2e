"""`mlx-probe generate`."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_probe.core.errors import ConfigError, Interrupted
from mlx_probe.core.language import tr

from .command import Command
from .console import close_output
from .document import json_option, print_document
from .options import config_option, device_option, model_argument, quiet_option

if TYPE_CHECKING:
    from mlx_probe.lab.generate.config import GenerateConfig
    from mlx_probe.lab.generate.generate import Generation
    from mlx_probe.lab.generate.loading import LoadedModel

__all__ = ["generate"]


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe generate ./runs/shakespeare --prompt 'To be, or'",
        "mlx-probe generate Qwen/Qwen3-0.6B --chat --prompt 'Why is it dark?' --top-p 0.9",
        "mlx-probe generate ./model --prompt @question.txt --temperature 0 --json",
    ),
)
@model_argument
@click.option(
    "--prompt",
    required=True,
    metavar="TEXT|-|@FILE",
    help="The text to continue; - reads standard input, @FILE a file.",
)
@click.option("--chat", is_flag=True, help="Put the prompt into the model's chat template.")
@click.option("--system", metavar="TEXT", help="A system message before it, with --chat.")
@click.option(
    "--max-tokens", type=click.IntRange(1), metavar="N", default=256, help="Tokens, at most."
)
@click.option(
    "--temperature",
    type=float,
    metavar="T",
    default=0.8,
    help="Divides the logits; 0 takes the most likely token, and the filters have no effect.",
)
@click.option(
    "--top-k",
    type=click.IntRange(0),
    metavar="K",
    default=0,
    help="Draw from the K most likely tokens; 0 for all.",
)
@click.option(
    "--top-p",
    type=float,
    metavar="P",
    default=1.0,
    help="Draw from the smallest set of tokens with this probability.",
)
@click.option(
    "--min-p",
    type=float,
    metavar="P",
    default=0.0,
    help="Draw from tokens with at least this share of the largest probability.",
)
@click.option(
    "--repetition-penalty",
    type=float,
    metavar="X",
    default=1.0,
    help="Makes tokens that were there before less likely, above 1.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the draws.")
@click.option(
    "--stop", multiple=True, metavar="TEXT", help="Text that ends the generation; may be repeated."
)
@click.option(
    "--stream/--no-stream", default=True, help="Print text as it comes, or all at the end."
)
@device_option("Where the model runs; auto takes a GPU where MLX has one.")
@config_option
@json_option
@quiet_option
def generate(
    model: str,
    prompt: str,
    chat: bool,
    system: str | None,
    max_tokens: int,
    stop: tuple[str, ...],
    stream: bool,
    device: str,
    as_json: bool,
    quiet: bool,
    **sampling: Any,
) -> None:
    """Let MODEL continue a text, or answer a message.

    MODEL is a model in Hugging Face's layout (config.json, safetensors, tokenizer.json), wherever
    it is, or the folder of a finished training run. Families that mlx-probe trains run by its own
    model, all others by mlx-lm.

    The text goes to standard output, one line about it to standard error. The same seed gives the
    same text on the same device. Ctrl-C keeps what is there.
    """
    if system is not None and not chat:
        raise click.UsageError("--system needs --chat")
    from mlx_probe.lab.device import use_device
    from mlx_probe.lab.generate.config import GenerateConfig, SamplingConfig
    from mlx_probe.lab.generate.generate import chat_tokens, prompt_tokens
    from mlx_probe.lab.generate.generate import generate as continue_prompt
    from mlx_probe.lab.generate.loading import load_model

    config = GenerateConfig(max_tokens, stop, SamplingConfig(**sampling))
    text = _read_prompt(prompt)
    use_device(device)  # type: ignore[arg-type]
    loaded = load_model(model)
    tokens = chat_tokens(loaded, text, system) if chat else prompt_tokens(loaded, text)
    shown = stream and not as_json
    made = continue_prompt(loaded, tokens, config, _write if shown else lambda piece: None)
    if as_json:
        print_document(_document(loaded, text, chat, system, config, made))
    else:
        _write("\n" if shown else f"{made.text}\n")
        if not quiet:
            click.echo(_summary(made), err=True)
    if made.finish_reason == "interrupted":
        raise Interrupted(
            f"interrupted after {len(made.tokens)} tokens", "Run the same command again"
        )


def _read_prompt(prompt: str) -> str:
    try:
        if prompt == "-":
            return sys.stdin.buffer.read().decode()
        if prompt.startswith("@"):
            return Path(prompt[1:]).read_text("utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read {prompt[1:] or 'standard input'}: {error.strerror}",
            "Name a text file after the @; text that begins with @ goes through standard input",
        ) from error
    except UnicodeError as error:
        raise ConfigError(f"the prompt is not UTF-8: {error}", "Convert it to UTF-8") from error
    return prompt


def _write(piece: str) -> None:
    """Print a piece as it is; a terminal gets no control characters from a model."""
    if sys.stdout.isatty():
        piece = "".join(c if _is_harmless(c) else repr(c)[1:-1] for c in piece)
    try:
        # Not `click.echo`, which takes colours out of a text that is no terminal's.
        sys.stdout.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        # A reader such as `head` has seen enough.
        close_output()


def _is_harmless(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) != "Cc"


def _summary(made: Generation) -> str:
    rate = made.tokens_per_second
    reasons = {
        "stop": tr("ended by the model or a stop text"),
        "length": tr("ended by the length"),
        "interrupted": tr("interrupted"),
    }
    return tr(
        "{prompt} tokens of prompt, {made} tokens, {rate} tokens/s, {reason}",
        prompt=made.prompt_tokens,
        made=len(made.tokens),
        rate="-" if rate is None else f"{rate:.1f}",
        reason=reasons[made.finish_reason],
    )


def _document(
    loaded: LoadedModel,
    prompt: str,
    chat: bool,
    system: str | None,
    config: GenerateConfig,
    made: Generation,
) -> dict[str, Any]:
    from dataclasses import asdict

    from mlx_probe.lab.device import device_label

    return {
        "model": loaded.name,
        "prompt": prompt,
        "prompt_tokens": made.prompt_tokens,
        "text": made.text,
        "tokens": list(made.tokens),
        "finish_reason": made.finish_reason,
        "tokens_per_second": made.tokens_per_second,
        "prompt_seconds": made.prompt_seconds,
        "settings": {
            "chat": chat,
            "system": system,
            "max_tokens": config.max_tokens,
            "stop": list(config.stop),
            **asdict(config.sampling),
        },
        "context": loaded.context,
        "dtype": loaded.dtype,
        "device": device_label(),
        "runs_by": loaded.runs_by,
    }
