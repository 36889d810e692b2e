"""Train a mixture's gates beside its dense teacher, from a graft to a mixture that is used.

`train_mixture` is the whole flow, with the loop, the step, the optimizer, the schedule, the text
and the checkpoints of `train`; what is its own are the other modules of this room:

    opening        the mixture as it is, and its teacher
    gates          the gates that are trained, as they begin
    objective      what a step makes small
    active_experts how many experts tokens use in the end
    write          the result: a stock mixture, or one with dynamic gates
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.loader import Prefetcher, TokenStream, windows_in_order
from mlx_probe.lab.device import DeviceName, use_device
from mlx_probe.lab.moe.train.active_experts import count_active, write_active
from mlx_probe.lab.moe.train.config import MixtureRecipe
from mlx_probe.lab.moe.train.facts import described_mixture, flops_per_token, step_tokens
from mlx_probe.lab.moe.train.folder import MADE, MODEL, RESULTS
from mlx_probe.lab.moe.train.gates import active_experts, begin_gates, choose_learned
from mlx_probe.lab.moe.train.identity import deciding_settings, mixture_fingerprint
from mlx_probe.lab.moe.train.objective import Teacher, described_step, mixture_loss
from mlx_probe.lab.moe.train.opening import open_mixture, open_teacher
from mlx_probe.lab.moe.train.policy import expert_policy
from mlx_probe.lab.moe.train.surprise_min import surprise_losses
from mlx_probe.lab.moe.train.text import open_training_text
from mlx_probe.lab.moe.train.write import write_mixture
from mlx_probe.lab.train.checkpoint import save_checkpoint
from mlx_probe.lab.train.checks import check_run
from mlx_probe.lab.train.evaluation import Evaluator
from mlx_probe.lab.train.facts import described_result, initial_values
from mlx_probe.lab.train.folder import TrainFolder
from mlx_probe.lab.train.loop import Loop
from mlx_probe.lab.train.machine import Machine
from mlx_probe.lab.train.optimizer import make_optimizer
from mlx_probe.lab.train.progress import Silent, TrainProgress
from mlx_probe.lab.train.samples import make_sampler
from mlx_probe.lab.train.stages import STAGES
from mlx_probe.lab.train.state import TrainState
from mlx_probe.lab.train.step import TrainStep
from mlx_probe.lab.train.stopping import stop_requests
from mlx_probe.lab.tune.identity import base_digest
from mlx_probe.lab.tune.weights import load_trainable, trainable
from mlx_probe.runs.job import Job, JobSpec
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.run import Run
from mlx_probe.runs.training.folder import MIXTURE
from mlx_probe.runs.training.metrics import COLUMNS

__all__ = ["train_mixture"]


def train_mixture(
    recipe: MixtureRecipe,
    model: str | os.PathLike[str],
    out: str | Path,
    *,
    teacher: str | os.PathLike[str] | None = None,
    data: Sequence[str | Path] = (),
    device: DeviceName = "auto",
    watch: WatchConfig | None = None,
    resume: bool = True,
    overwrite: bool = False,
    progress: TrainProgress | None = None,
) -> Run:
    """Train the gates of a mixture, and write it with everything that was measured.

    Called again with the same arguments it goes on where it was interrupted, and what follows has
    the same bits as if it had not been. A finished run is returned as it is.

    Args:
        recipe: Which gates, what they learn, and how.
        model: A mixture of the types in `STOCKS`, or one with dynamic gates.
        out: The run folder; the mixture is in ``out/model``.
        teacher: The dense model; None where ``loss.distillation`` is 0.
        data: Sources of text, in the place of the recipe's.
        device: "cpu", "gpu", or "auto" for a GPU where there is one.
        watch: Rules on the machine's resources, and where samples go; changes no result.
        resume: Whether to go on from the checkpoints in ``out``; otherwise they are deleted.
        overwrite: Whether to replace what ``out`` holds: another run, or files of the user.
        progress: Follows the run.

    Returns:
        The run; its metadata say whether it stopped early.

    Raises:
        ConfigError: A setting has no meaning, or does not fit to another or to the models.
        ResultError: ``out`` holds another run, or one with other settings, or the disk refused.
        Interrupted: Ctrl-C or SIGTERM; the last step is saved.
        Stopped: A rule that stops was broken; the last step is saved.
        Diverged: A number became NaN or infinite; the last good step is saved.
        ProbeError: A model or the text cannot be read, or no checkpoint is whole.
    """
    progress = progress or Silent()
    if data:
        recipe = replace(recipe, data=replace(recipe.data, sources=tuple(map(str, data))))
    if recipe.loss.distillation and teacher is None:
        raise ConfigError(
            "loss.distillation is above 0, and there is no teacher",
            "Name the dense model with --teacher, or set loss.distillation=0",
        )
    use_device(device)
    reference, dense = os.fspath(model), None if teacher is None else os.fspath(teacher)
    folder = TrainFolder(Path(out), MIXTURE, MADE, RESULTS)
    settings = deciding_settings(recipe, reference, dense)
    fingerprint = mixture_fingerprint(settings)
    if not overwrite and (finished := folder.finished(fingerprint, resume)):
        return finished
    config = recipe.train
    job = Job(MIXTURE, watch=watch, resume=resume, overwrite=overwrite, on_alert=progress.alert)
    spec = JobSpec(
        title=f"{folder.path.name} ({reference})",
        about=(f"moe train {folder.path}",),
        paths=folder.paths,
        columns=COLUMNS,
        fingerprint=lambda: fingerprint,
        stages=STAGES,
        described={"configuration": settings},
        sizes=[step_tokens(recipe)] * config.steps,
    )
    folder.drop_first_try(fingerprint)
    with job.running(spec), ExitStack() as stack:
        anew = folder.begin(job, recipe, fingerprint, resume)
        progress.phase("loading the models")
        mixture = open_mixture(reference)
        network = mixture.network
        taught = None if dense is None else open_teacher(dense, mixture)
        active, factor = active_experts(mixture, recipe.gate), mixture.scale(recipe.gate)
        transform = expert_policy(recipe.policy, mixture.experts, config.seed)
        job.begin("tokenize", "tokenizing")
        with job.meter.stage("tokenize"):
            tokens, loader = open_training_text(recipe, mixture.loaded, folder.path, progress, anew)

        job.begin("train", "preparing")
        token_bytes = np.pad(
            tokens.token_bytes(), (0, mixture.vocabulary - tokens.tokenizer.vocabulary)
        )

        def validation() -> Iterator[NDArray[np.integer]]:
            return tokens.validation(config.batch, config.context, config.evaluation_tokens)

        # None of these is compiled: each is run once.
        progress.phase("evaluating")
        losses: dict[str, Any] = {
            "dense": None
            if taught is None
            else Evaluator(taught.model, token_bytes, False)(validation(), lambda: None).values,
            "given": Evaluator(network, token_bytes, False)(validation(), lambda: None).values,
        }
        if taught is not None:
            taught.model.eval()
        stream = TokenStream(tokens.folder, "train", tokens.manifest)
        begins_on = windows_in_order(stream, config.batch, config.context, recipe.gate.begin_tokens)
        progress.phase("placing the gates")
        begin_gates(mixture, recipe.gate, config.seed, begins_on)
        choose_learned(mixture, config.learn)
        learned = trainable(network)
        distilled = taught.model if taught is not None and recipe.loss.distillation else None
        per_token = flops_per_token(network, learned, distilled)
        machine = Machine.here(config, per_token * step_tokens(recipe) * config.steps)
        if warning := machine.slow_products:
            job.warn(warning)
        described = described_mixture(
            recipe, mixture, taught, learned, tokens, machine, active, factor
        )
        described |= {"dense": losses["dense"], "given": losses["given"]}
        job.write_plan(described)

        optimizer, state = make_optimizer(config, network), TrainState()
        digests = [base_digest(each.folder) for each in (mixture.loaded, taught) if each]
        about = {
            "fingerprint": fingerprint,
            "data": "".join([tokens.manifest.fingerprint, *digests]),
            "machine": machine.describe(),
            "base": reference,
        }
        if saved := folder.checkpoint(about, job.warn):
            load_trainable(network, saved.weights)
            optimizer.state, state = saved.optimizer, saved.state
            for difference in machine.differences(saved.about["machine"]):
                job.warn(difference)
        step = TrainStep(
            network,
            optimizer,
            config,
            machine.number_type,
            machine.compiled,
            loss=mixture_loss(mixture.record, recipe.loss, surprise_losses(recipe.surprise)),
            describe=described_step,
            transform=transform,
        )
        loop = Loop(
            config=config,
            job=job,
            model=network,
            optimizer=optimizer,
            step=step,
            evaluate=Evaluator(network, token_bytes, machine.compiled),
            batches=stack.enter_context(Prefetcher(loader, state.position)),
            validation=validation,
            sample=make_sampler(network, tokens.tokenizer, config, config.context),
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
            snapshots=None,
            policy=None,
            progress=progress,
            state=state,
            flops_per_token=per_token,
            to_device=Teacher(distilled, recipe.loss.temperature),
            advice=_advice,
        )
        job.progress.finish(range(state.step))
        progress.begin(described, state.step, config.steps)
        stack.callback(progress.end)
        mx.reset_peak_memory()
        with stop_requests() as stop:
            loop.run(stop)
        peak = mx.get_peak_memory()

        job.begin("write", "counting active experts")
        counted = count_active(network, mixture.record, validation(), mixture.experts)
        used = write_active(folder.path, counted)
        job.progress.what = "writing the model"
        weights = trainable(network)
        written = write_mixture(folder.path / MODEL, mixture, weights, active)
        checks = check_run(folder.path, state, weights)
        outputs = folder.write_tables(job.paths.replaced)
        result = {
            **described_result(state, config.steps),
            "initial": initial_values(folder.path, state),
            "parameters": written,
            "active_experts": used,
            "peak_memory": peak,
        }
        return job.finish({**described, **result}, checks, outputs, {})
    raise AssertionError("the run is returned within")


def _advice(checkpoint: Path) -> str:
    return "Lower train.learning_rate, or raise train.warmup, and train again with another --out"
