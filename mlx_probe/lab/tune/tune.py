"""Tune a model on conversations, from files to an adapter that mlx-lm loads.

`tune` is the whole flow, with the loop, the step, the optimizer, the schedule and the checkpoints
of `train`; what is its own are the other modules of this room.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_probe.core.language import tr
from mlx_probe.lab.device import DeviceName, use_device
from mlx_probe.lab.train.checkpoint import save_checkpoint
from mlx_probe.lab.train.checks import check_run
from mlx_probe.lab.train.facts import described_result, initial_values
from mlx_probe.lab.train.folder import TrainFolder
from mlx_probe.lab.train.loop import Loop
from mlx_probe.lab.train.machine import Machine
from mlx_probe.lab.train.optimizer import make_optimizer
from mlx_probe.lab.train.progress import Silent, TrainProgress
from mlx_probe.lab.train.stages import STAGES
from mlx_probe.lab.train.state import TrainState
from mlx_probe.lab.train.stopping import stop_requests
from mlx_probe.lab.tune.adapters import adapter_numbers, write_adapter
from mlx_probe.lab.tune.begin import begin
from mlx_probe.lab.tune.config import TuneRecipe
from mlx_probe.lab.tune.differences import Differences
from mlx_probe.lab.tune.facts import described_tuning, flops_per_token, planned_tokens
from mlx_probe.lab.tune.folder import ADAPTER, MADE, RESULTS, SKIPPED, write_skipped
from mlx_probe.lab.tune.grpo.objective import learn_rewards
from mlx_probe.lab.tune.grpo.prompts import Prompts
from mlx_probe.lab.tune.identity import base_digest, deciding_settings, tuning_fingerprint
from mlx_probe.lab.tune.memory import require_memory
from mlx_probe.lab.tune.objective import Setting, learn_answers
from mlx_probe.lab.tune.samples import make_answers
from mlx_probe.lab.tune.weights import load_trainable, number_type, trainable
from mlx_probe.runs.job import Job, JobSpec
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.run import Run
from mlx_probe.runs.training.folder import TUNING
from mlx_probe.runs.training.metrics import COLUMNS

__all__ = ["tune"]


def tune(
    recipe: TuneRecipe,
    model: str | os.PathLike[str],
    data: str | Path,
    out: str | Path,
    *,
    device: DeviceName = "auto",
    watch: WatchConfig | None = None,
    resume: bool = True,
    overwrite: bool = False,
    progress: TrainProgress | None = None,
) -> Run:
    """Tune a model and write its adapter, with everything that was measured.

    Called again with the same arguments it goes on where it was interrupted, and what follows has
    the same bits as if it had not been. A finished run is returned as it is.

    Args:
        recipe: What is learned, and how.
        model: The base; see `load_model`.
        data: Folder with train.jsonl and valid.jsonl; see `read_conversations`.
        out: The run folder; the adapter is in ``out/adapter``.
        device: "cpu", "gpu", or "auto" for a GPU where there is one.
        watch: Rules on the machine's resources, and where samples go; changes no result.
        resume: Whether to go on from the checkpoints in ``out``; otherwise they are deleted.
        overwrite: Whether to replace what ``out`` holds: another run, or files of the user.
        progress: Follows the run.

    Returns:
        The run; its metadata say whether it stopped early.

    Raises:
        ConfigError: A setting has no meaning, does not fit to another, or needs more memory than
            there is.
        ResultError: ``out`` holds another run, or one with other settings, or the disk refused.
        Interrupted: Ctrl-C or SIGTERM; the last step is saved.
        Stopped: A rule that stops was broken; the last step is saved.
        Diverged: A number became NaN or infinite; the last good step is saved.
        ProbeError: Model or data cannot be read, or no checkpoint is whole.
    """
    progress = progress or Silent()
    use_device(device)
    reference, source = os.fspath(model), Path(data)
    folder = TrainFolder(Path(out), TUNING, MADE, RESULTS)
    settings = deciding_settings(recipe, reference, source)
    fingerprint = tuning_fingerprint(settings)
    if not overwrite and (finished := folder.finished(fingerprint, resume)):
        return finished
    config = recipe.train
    job = Job(TUNING, watch=watch, resume=resume, overwrite=overwrite, on_alert=progress.alert)
    spec = JobSpec(
        title=f"{folder.path.name} ({reference})",
        about=(f"tune {folder.path}",),
        paths=folder.paths,
        columns=COLUMNS,
        fingerprint=lambda: fingerprint,
        stages=STAGES,
        described={"configuration": settings},
        sizes=[1] * config.steps,
    )
    folder.drop_first_try(fingerprint)
    with job.running(spec), ExitStack() as stack:
        folder.begin(job, recipe, fingerprint, resume)
        job.begin("tokenize", "reading the conversations")
        with job.meter.stage("tokenize"):
            began = begin(
                recipe,
                reference,
                source,
                lambda done, total: progress.phase("reading the conversations", done, total),
            )
        loaded, adapters, learned = began.loaded, began.adapters, began.learned
        examples, network = began.examples, began.loaded.model
        write_skipped(folder.path, examples.skipped)
        if examples.skipped:
            job.warn(_skipped(len(examples.skipped), folder.path))

        job.begin("train", "preparing")
        per_token = flops_per_token(network, learned, recipe.adapter.method)
        flops = per_token * planned_tokens(recipe, examples)
        dtype: Any = "bfloat16" if number_type(network) == mx.bfloat16 else "float32"
        # On a CPU each of many shapes would be compiled anew, which is never made up for.
        eager = config.compile == "auto" and mx.default_device().type == mx.cpu
        machine = Machine.here(replace(config, dtype=dtype), 0.0 if eager else flops)
        if warning := machine.slow_products:
            job.warn(warning)
        memory = require_memory(recipe, began.sizes, network, examples)
        described = described_tuning(recipe, loaded, adapters, learned, examples, machine)
        described["memory"] = memory.describe()
        job.write_plan(described)

        optimizer, state = make_optimizer(config, network), TrainState()
        compares = config.objective == "grpo" and recipe.grpo.kl > 0
        reference_weights = trainable(network) if compares else {}
        about = {
            "fingerprint": fingerprint,
            "data": examples.fingerprint() + base_digest(loaded.folder),
            "machine": machine.describe(),
            "base": reference,
        }
        if saved := folder.checkpoint(about, job.warn):
            load_trainable(network, saved.weights)
            optimizer.state, state = saved.optimizer, saved.state
            for difference in machine.differences(saved.about["machine"]):
                job.warn(difference)

        def write(path: Path, weights: Mapping[str, mx.array]) -> None:
            only = {name: weights[name] for name in learned}
            write_adapter(path, adapters, only, reference, config.dropout)

        differences = Differences(folder.path, recipe.snapshots, loaded.folder, config.steps, write)
        setting = Setting(recipe, began, optimizer, machine, state, folder.path)

        def wait() -> None:
            loop.wait()

        if isinstance(examples, Prompts):
            objective = learn_rewards(
                setting, examples, reference_weights, stack, lambda: job.meter.stage("sample"), wait
            )
        else:
            objective = learn_answers(setting, examples)
        loop = Loop(
            config=config,
            job=job,
            model=network,
            optimizer=optimizer,
            step=objective.step,
            evaluate=objective.evaluate,
            batches=objective.batches,
            validation=objective.validation,
            sample=make_answers(network, loaded.tokenizer, config, examples.max_tokens),
            metrics=stack.enter_context(folder.metrics(state)),
            samples=stack.enter_context(folder.samples(state)) if config.sample_every else None,
            save=lambda: save_checkpoint(
                folder.checkpoints,
                trainable(network),
                optimizer.state,
                state,
                about,
                config.keep,
            ),
            snapshots=differences,
            policy=None,
            progress=progress,
            state=state,
            flops_per_token=per_token,
            tokens_of=objective.tokens_of,
            to_device=objective.to_device,
            advice=_advice,
        )
        job.progress.finish(range(state.step))
        progress.begin(described, state.step, config.steps)
        stack.callback(progress.end)
        mx.reset_peak_memory()
        with stop_requests() as stop:
            loop.run(stop)
        peak = mx.get_peak_memory()

        job.begin("write", "writing the adapter")
        weights = trainable(network)
        write(folder.path / ADAPTER, weights)
        written = adapter_numbers(adapters, weights)
        job.begin("watch", "comparing with the base")
        with job.meter.stage("watch"):
            compared = differences.finish(
                lambda done, total: progress.phase("comparing with the base", done, total)
            )
        checks = check_run(folder.path, state, weights)
        outputs = folder.write_tables(job.paths.replaced)
        result = {
            **described_result(state, config.steps),
            "initial": initial_values(folder.path, state),
            **objective.result(),
            "adapter_parameters": written,
            "peak_memory": peak,
            "differences": compared,
        }
        return job.finish({**described, **result}, checks, outputs, {})
    raise AssertionError("the run is returned within")


def _skipped(count: int, folder: Path) -> str:
    return tr(
        "{count} conversations are left out or cut: {path} names them",
        count=count,
        path=folder / SKIPPED,
    )


def _advice(checkpoint: Path) -> str:
    return (
        "Lower train.learning_rate or adapter.scale, or raise train.warmup, and tune again with "
        "another --out"
    )
