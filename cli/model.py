"""`mlx-probe model`: one model as a whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import DownloadColumn

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import write_text
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size

from .command import Command, Group
from .console import output
from .counting_bar import counting_bar
from .document import json_option, print_document
from .options import config_option, device_option, model_argument, quiet_option

if TYPE_CHECKING:
    from mlx_probe.lab.about.facts import ModelFacts
    from mlx_probe.lab.about.verify import ModelVerified

__all__ = ["model"]


@click.command(
    "verify",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe model verify ./merged",
        "mlx-probe model verify ./merged --prompt 'To be' --expect 3f8a9c01 --json",
    ),
)
@model_argument
@click.option("--prompt", metavar="TEXT", default="The", help="The text that it continues.")
@click.option(
    "--max-tokens", type=click.IntRange(1), metavar="N", default=16, help="Tokens, at most."
)
@click.option(
    "--expect",
    metavar="SHA256",
    help="The hash that all files together should have, or its first digits.",
)
@device_option("Where the model runs; auto takes a GPU where MLX has one.")
@config_option
@json_option
@quiet_option
def verify_command(
    model: str,
    prompt: str,
    max_tokens: int,
    expect: str | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check that MODEL works here: hash its files, load it, let it continue a text.

    Every tensor has to be readable, the same text has to come twice, and its loss has to be a
    number. The exit code is 1 if a check fails. The printed hash is of all files that decide what
    the model says: keep it, and give it to --expect.

    `mlx-probe verify` is another command: it compares files with the hashes of their publisher.
    """
    from mlx_probe.lab.about.verify import verify_model
    from mlx_probe.lab.device import use_device

    use_device(device)  # type: ignore[arg-type]
    with counting_bar(tr("hashing"), DownloadColumn(), quiet) as on_progress:
        done = verify_model(model, prompt, max_tokens, expect, on_progress)
    if as_json:
        print_document({**asdict(done), "folder": str(done.folder), "passed": done.passed})
    elif not quiet:
        output().print(_verified_text(done), markup=False, soft_wrap=True)
    if not done.passed:
        failed = next(check for check in done.checks if not check.passed)
        raise click.ClickException(f"{model} does not pass: {failed.name}: {failed.text}")


@click.command(
    "info",
    cls=Command,
    examples=(
        "mlx-probe model info Qwen/Qwen3-0.6B",
        "mlx-probe model info ./runs/shakespeare --json",
    ),
)
@model_argument
@json_option
def info_command(model: str, as_json: bool) -> None:
    """Say what MODEL is: parameters, layers, types, context, tokenizer; from headers only.

    MODEL may be an adapter, a GGUF file, or the folder of a finished run. `mlx-probe inspect` lists
    every tensor.
    """
    from mlx_probe.lab.about.facts import read_facts

    facts = read_facts(model)
    if as_json:
        print_document({**asdict(facts), "path": str(facts.path), "bits": facts.bits})
    else:
        output().print(_facts_text(facts), markup=False, soft_wrap=True)


@click.command(
    "card",
    cls=Command,
    examples=(
        "mlx-probe model card ./runs/shakespeare",
        "mlx-probe model card ./merged --evaluation bpb.json --comparison ./runs/change",
        "mlx-probe model card ./merged --out -",
    ),
)
@model_argument
@click.option(
    "--evaluation",
    "evaluations",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    metavar="FILE.json",
    help="What `mlx-probe evaluate --out` wrote; may be repeated.",
)
@click.option(
    "--comparison",
    "comparisons",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="RUN",
    help="A finished run of `mlx-probe compare`; may be repeated.",
)
@click.option(
    "--out",
    metavar="FILE|-",
    help="Where; - prints it.  [default: README.md beside the weights]",
)
@click.option("--replace", is_flag=True, help="Replace a card that somebody else wrote.")
@json_option
@quiet_option
def card_command(
    model: str,
    evaluations: tuple[Path, ...],
    comparisons: tuple[Path, ...],
    out: str | None,
    replace: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the model card of MODEL: README.md with a block of metadata for the Hub.

    It says what the model is, how it was trained (run_meta.json of the run that it lies in), how
    it was changed (a merge, comparisons) and how it was evaluated. The card is in English.

    `mlx-probe catalog card` is another command: it shows what the catalog knows of a model.
    """
    from mlx_probe.lab.about.card import MARK, model_card

    made = model_card(model, evaluations, comparisons)
    if out == "-" and not as_json:
        click.echo(made.text, nl=False)
        return
    place = made.place if out is None else None if out == "-" else Path(out)
    if place is None and out is None:
        raise ResultError(f"{model} has no folder of its own", "Name a file with --out")
    if place is not None:
        if place.is_file() and not replace and MARK not in place.read_text("utf-8", "replace"):
            raise ResultError(
                f"{place} was not written by mlx-probe", "Choose another --out, or give --replace"
            )
        write_text(place, made.text)
    if as_json:
        where = None if place is None else str(place)
        print_document({"file": where, "sections": made.sections, "text": made.text})
    elif not quiet:
        output().print(str(place), markup=False, soft_wrap=True)


@click.group(
    cls=Group,
    commands=(verify_command, info_command, card_command),
    examples=(
        "mlx-probe model info Qwen/Qwen3-0.6B",
        "mlx-probe model verify ./merged",
        "mlx-probe model card ./merged",
    ),
)
def model() -> None:
    """Look at one model as a whole: what it is, whether it works, its card."""


def _verified_text(done: ModelVerified) -> str:
    width = max(len(check.name) for check in done.checks)
    lines = [f"{file.sha256}  {file.name} ({format_size(file.bytes)})" for file in done.files]
    lines.append(tr("{hash}  all files", hash=done.sha256))
    for check in done.checks:
        state = tr("ok") if check.passed else tr("failed")
        name = translated(check.name)
        lines.append(f"{name:{width}}  {state}  {translated(check.text)}")
    if done.text:
        lines.append(f"{done.prompt}{done.text}")
    return "\n".join(lines)


def _facts_text(facts: ModelFacts) -> str:
    shape = ", ".join(f"{key} {value}" for key, value in facts.architecture.items())
    types = ", ".join(f"{name} {count:,}" for name, count in facts.types.items())
    lines: dict[str, Any] = {
        tr("model"): facts.model,
        tr("path"): facts.path,
        tr("format"): facts.format,
        tr("architecture"): shape,
        tr("parameters"): f"{facts.parameters:,}",
        tr("types"): types,
        tr("size"): format_size(facts.bytes)
        + tr(", {bits} bits a weight", bits=f"{facts.bits:.2f}"),
        tr("context"): facts.context and tr("{count} tokens", count=f"{facts.context:,}"),
        tr("tokenizer"): facts.tokens
        and tr("{kind}, {count} tokens", kind=facts.tokenizer, count=f"{facts.tokens:,}")
        + (tr(", with a chat template") if facts.chat else ""),
        tr("adapter"): facts.adapter
        and ", ".join(
            f"{key} {value}"
            for key, value in facts.adapter.items()
            if key != "targets" and value not in (None, [])
        ),
    }
    shown = {name: str(text) for name, text in lines.items() if text}
    width = max(map(len, shown))
    return "\n".join(f"{name:{width}}  {text}" for name, text in shown.items())
