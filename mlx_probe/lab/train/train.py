"""Train a small language model, from text to a checkpoint that other programs open.

`train` is the whole flow; each of its words is a module:

    tokens      text -> tokens of a training and a validation split
    model       the transformer, new or from a checkpoint
    optimizer   Muon and AdamW
    step        gradients, clipping, update
    loop        steps, evaluations, samples, snapshots, checkpoints
    checkpoint  everything that an interrupted run needs to go on with the same bits
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from mlx.utils import tree_flatten

from mlx_probe.lab.data.loader import Prefetcher
from mlx_probe.lab.device import DeviceName, use_device
from mlx_probe.lab.model.count import training_flops_per_token
from mlx_probe.lab.model.initialize import initialize
from mlx_probe.lab.model.layout import write_model
from mlx_probe.lab.model.mini_llm import MiniLLM
from mlx_probe.lab.train.alpha_decay import AlphaDecay
from mlx_probe.lab.train.checkpoint import save_checkpoint
from mlx_probe.lab.train.checks import check_run
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.train.distributed.agreement import agreed
from mlx_probe.lab.train.distributed.lead import leading
from mlx_probe.lab.train.distributed.world import World
from mlx_probe.lab.train.evaluation import Evaluator
from mlx_probe.lab.train.facts import described_result, described_run, step_tokens
from mlx_probe.lab.train.folder import TrainFolder
from mlx_probe.lab.train.identity import deciding_settings, run_fingerprint
from mlx_probe.lab.train.initial import load_float32, open_initial
from mlx_probe.lab.train.loop import Loop
from mlx_probe.lab.train.machine import Machine
from mlx_probe.lab.train.optimizer import make_optimizer
from mlx_probe.lab.train.progress import Silent, TrainProgress
from mlx_probe.lab.train.rate import product_rate
from mlx_probe.lab.train.samples import make_sampler
from mlx_probe.lab.train.stages import STAGES
from mlx_probe.lab.train.state import TrainState
from mlx_probe.lab.train.step import TrainStep
from mlx_probe.lab.train.stopping import stop_requests
from mlx_probe.lab.train.throughput import throughput
from mlx_probe.lab.train.tokens import open_tokens
from mlx_probe.lab.train.watch.watch import Watch
from mlx_probe.runs.exporters.metrics import read_metrics
from mlx_probe.runs.job import Job, JobSpec
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.run import Run
from mlx_probe.runs.training.metrics import COLUMNS

__all__ = ["train"]


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    data: Sequence[str | Path] = (),
    init: str | os.PathLike[str] | None = None,
    device: DeviceName = "auto",
    watch: WatchConfig | None = None,
    resume: bool = True,
    overwrite: bool = False,
    progress: TrainProgress | None = None,
    world: World | None = None,
) -> Run:
    """Train a model and write it in Hugging Face's layout, with everything that was measured.

    Called again with the same recipe and ``out`` it goes on where it was interrupted, and what
    follows has the same bits as if it had not been. A finished run is returned as it is.

    Args:
        recipe: The model, its text, and how it is trained.
        out: The run folder.
        data: Sources of text, in the place of the recipe's.
        init: A model or a checkpoint to go on from, with its shape and its tokenizer in the place
            of the recipe's; None for new weights.
        device: "cpu", "gpu", or "auto" for a GPU where there is one.
        watch: Rules on the machine's resources, and where samples go; changes no result.
        resume: Whether to go on from the checkpoints in ``out``; otherwise they are deleted.
        overwrite: Whether to replace what ``out`` holds: another run, or files of the user.
        progress: Follows the run.
        world: Processes that train together, this one being process 0; see `follow` for the
            others. None for one process.

    Returns:
        The run; its metadata say whether it stopped early.

    Raises:
        ConfigError: A setting has no meaning, or does not fit to another.
        ResultError: ``out`` holds another run, or one with other settings, or another process
            trains there just now, or the disk refused.
        Interrupted: Ctrl-C or SIGTERM; the last step is saved.
        Stopped: A rule that stops was broken, or another process is lost; the last step is saved.
        Diverged: A number became NaN or infinite; the last good step is saved.
        ProbeError: The text cannot be read, or no checkpoint is whole.
    """
    progress = progress or Silent()
    if data:
        recipe = replace(recipe, data=replace(recipe.data, sources=tuple(map(str, data))))
    use_device(device)
    initial = open_initial(os.fspath(init)) if init is not None else None
    if initial is not None:
        recipe = initial.adapt(recipe)
    folder = TrainFolder(Path(out))
    settings = deciding_settings(recipe, None if init is None else os.fspath(init))
    fingerprint = run_fingerprint(settings)
    if not overwrite and (finished := folder.finished(fingerprint, resume)):
        with leading(world):
            return finished
    config = recipe.train
    job = Job("train", watch=watch, resume=resume, overwrite=overwrite, on_alert=progress.alert)
    spec = JobSpec(
        title=f"{folder.path.name} ({', '.join(recipe.data.sources)})",
        about=(f"train {folder.path}",),
        paths=folder.paths,
        columns=COLUMNS,
        fingerprint=lambda: fingerprint,
        stages=STAGES,
        described={"configuration": settings},
        sizes=[step_tokens(recipe)] * config.steps,
    )
    folder.drop_first_try(fingerprint)
    with job.running(spec), ExitStack() as stack:
        lead = stack.enter_context(leading(world))
        anew = folder.begin(job, recipe, fingerprint, resume)
        job.begin("tokenize", "tokenizing")
        with job.meter.stage("tokenize"):
            tokens = open_tokens(recipe, folder.path, progress, anew)
        if initial is not None:
            initial.refuse_other(tokens.tokenizer)
        lead.tokens_ready()
        shape = replace(recipe.model, vocabulary=tokens.vocabulary)
        flops = training_flops_per_token(shape) * step_tokens(recipe) * config.steps
        machine = Machine.here(config, flops, lead.size)
        if warning := machine.slow_products:
            job.warn(warning)
        described = described_run(recipe, shape, tokens, machine)
        described["init"] = settings["init"]
        job.write_plan(described)

        job.begin("train", "preparing")
        model = MiniLLM(shape, config.dropout)
        model.checkpointing = config.gradient_checkpointing
        if initial is not None:
            load_float32(model, initial.read())
        else:
            initialize(model, config.seed)
        optimizer, state = make_optimizer(config, model), TrainState()
        about = {
            "fingerprint": fingerprint,
            "data": tokens.manifest.fingerprint,
            "machine": machine.describe(),
            "model": asdict(shape),
            "tokenizer": str(tokens.tokenizer.folder.absolute()),
        }
        if saved := folder.checkpoint(about, job.warn):
            load_float32(model, saved.weights)
            optimizer.state, state = saved.optimizer, saved.state
            for difference in machine.differences(saved.about["machine"]):
                job.warn(difference)
        facts = agreed(fingerprint, tokens.manifest.fingerprint, machine)
        lead.start(facts, model, optimizer, state.step, state.position)

        snapshots = stack.enter_context(Watch(folder.path, recipe.snapshots, shape, config.steps))
        policy = AlphaDecay(config.policy_every) if config.weight_decay_policy == "alpha" else None
        loader = tokens.loader(config.batch, shape.context, config.seed)
        step = TrainStep(
            model, optimizer, config, machine.number_type, machine.compiled, lead.reduction
        )
        loop = Loop(
            config=config,
            job=job,
            model=model,
            optimizer=optimizer,
            step=lead.together(step),
            evaluate=Evaluator(model, tokens.token_bytes(), machine.compiled),
            batches=stack.enter_context(Prefetcher(loader, state.position, 0, lead.size)),
            validation=lambda: tokens.validation(
                config.batch, shape.context, config.evaluation_tokens
            ),
            sample=make_sampler(model, tokens.tokenizer, config, shape.context),
            metrics=stack.enter_context(folder.metrics(state)),
            samples=stack.enter_context(folder.samples(state)) if config.sample_every else None,
            save=lambda: save_checkpoint(
                folder.checkpoints,
                dict(tree_flatten(model.parameters())),
                optimizer.state,
                state,
                about,
                config.keep,
            ),
            snapshots=snapshots,
            policy=lead.shared(policy),
            progress=progress,
            state=state,
            flops_per_token=training_flops_per_token(shape),
            processes=lead.size,
        )
        job.progress.finish(range(state.step))
        progress.begin(described, state.step, config.steps)
        stack.callback(progress.end)
        with stop_requests() as stop:
            lead.stop = stop
            loop.run(stop)
        lead.end(0)

        job.begin("watch", "measuring snapshots")
        with job.meter.stage("watch"):
            watched = snapshots.finish(
                lambda done, total: progress.phase("measuring snapshots", done, total)
            )

        job.begin("write", "writing the model")
        weights = dict(tree_flatten(model.parameters()))
        write_model(folder.path / "model", shape, weights, tokens.folder / "tokenizer")
        checks = check_run(folder.path, state, weights)
        outputs = folder.write_tables(job.paths.replaced)
        speed = throughput(
            read_metrics(folder.path),
            described["flops_per_token"],
            product_rate(shape, config.batch * shape.context, machine.number_type),
        )
        result = {**described_result(state, config.steps), "throughput": speed, "watch": watched}
        return job.finish({**described, **result}, checks, outputs, {})
    raise AssertionError("the run is returned within")
