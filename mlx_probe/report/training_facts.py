"""Facts about a training run as labelled lines of text, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.findings.words import percent
from mlx_probe.analysis.training.outcome import Outcome
from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.report.fields import pairs_text
from mlx_probe.runs.training.folder import MIXTURE

if TYPE_CHECKING:
    from mlx_probe.report.training_data import TrainingData

__all__ = ["differing_settings", "result_facts", "setting_facts", "training_facts"]

_NOT_KNOWN = ""


def result_facts(data: TrainingData) -> dict[str, str]:
    """How far a run came, and its numbers."""
    outcome = data.outcome
    return {
        tr("state"): tr(outcome.state),
        tr("training steps"): _steps(outcome),
        tr("best bits per byte"): _at(outcome.best_bpb, outcome.best_bpb_step),
        tr("last bits per byte"): _at(outcome.last_bpb, outcome.last_bpb_step),
        tr("best validation loss"): _number(outcome.best_loss, "{:.4f}", tr("nats/token")),
        tr("training loss"): _number(outcome.train_loss, "{:.4f}", tr("nats/token")),
        tr("tokens"): _number(outcome.tokens, "{:,}"),
        tr("time"): _number(outcome.seconds, "{:,.1f}", "s"),
        tr("throughput"): _number(outcome.tokens_per_second, "{:,.0f}", tr("tokens/s")),
        **({tr("reward of held-out prompts"): rewards} if (rewards := _rewards(outcome)) else {}),
        **_kept(data),
    }


def training_facts(data: TrainingData) -> dict[str, str]:
    """Results, model, text and machine of a run; what it does not say is left out."""
    meta = data.run.meta
    text = meta.get("data")
    facts = {
        **result_facts(data),
        tr("method"): _text(meta.get("method")),
        **_mixture(meta),
        tr("parameters"): _number(meta.get("parameters"), "{:,}"),
        tr("learned parameters"): _number(meta.get("learned_parameters"), "{:,}"),
        tr("training FLOPs per token"): _number(meta.get("flops_per_token"), "{:,.0f}"),
        tr("model"): _text(data.run.recipe.get("model") or meta.get("base")),
        tr("text"): _data(text) if isinstance(text, Mapping) else _NOT_KNOWN,
        tr("device"): _text(meta.get("device")),
        tr("BLAS"): _text(meta.get("blas")),
        tr("numbers"): _text(meta.get("dtype")),
        tr("compiled"): _compiled(meta),
        tr("processes"): _text(meta.get("world")),
        tr("snapshots"): _watch(meta.get("watch")) or _compared(meta.get("differences")),
        tr("speed"): _speed(meta.get("throughput")),
        tr("version"): _text(meta.get("code_version")),
        tr("made"): _text(meta.get("created_at")),
        tr("folder"): str(data.run.folder),
    }
    return {label: value for label, value in facts.items() if value}


def _kept(data: TrainingData) -> dict[str, str]:
    """How many snapshots there are; the training of a mixture keeps none."""
    if data.run.kind == MIXTURE:
        return {}
    name = tr("snapshots compared") if data.run.is_tuning else tr("snapshots measured")
    return {name: str(len(data.steps))}


def _mixture(meta: Mapping[str, Any]) -> dict[str, str]:
    """What there is of the training of a mixture: its teacher, gates and experts."""
    if meta.get("kind") != MIXTURE:
        return {}
    used, facts = meta.get("active_experts"), {}
    if isinstance(used, Mapping):
        facts[tr("active experts")] = tr(
            "{mean} of {experts} in the mean, {least} to {most}",
            mean=_number(used.get("mean"), "{:.2f}"),
            experts=_text(used.get("experts")),
            least=_text(used.get("min")),
            most=_text(used.get("max")),
        )
    losses = {
        tr("validation loss of the dense model"): "dense",
        tr("validation loss as given"): "given",
        tr("validation loss before the first step"): "initial",
    }
    for label, key in losses.items():
        found = meta.get(key)
        loss = found.get("val_loss") if isinstance(found, Mapping) else None
        facts[label] = _number(loss, "{:.4f}", tr("nats/token"))
    return {
        tr("teacher"): _text(meta.get("teacher")),
        tr("gates"): _text(meta.get("gate")),
        tr("what is learned"): _text(meta.get("learn")),
        **facts,
    }


def setting_facts(data: TrainingData) -> dict[str, str]:
    """All settings of a run by section and key."""
    settings: dict[str, str] = {}
    for section, entries in data.run.recipe.items():
        if isinstance(entries, Mapping):
            settings |= {f"{section}.{key}": _text(value) for key, value in entries.items()}
        else:
            settings[str(section)] = _text(entries)
    return settings


def differing_settings(runs: Sequence[TrainingData]) -> list[dict[str, str]]:
    """For each run the settings in which not all runs agree, and what else makes them differ."""
    settings = [
        {
            **setting_facts(run),
            tr("text by its fingerprint"): _fingerprint(run)[:12],
            tr("device"): _text(run.run.meta.get("device")),
            tr("processes"): _text(run.run.meta.get("world")),
        }
        for run in runs
    ]
    names = dict.fromkeys(name for of in settings for name in of)
    differ = [name for name in names if len({of.get(name, "") for of in settings}) > 1]
    return [{name: of.get(name, "") for name in differ} for of in settings]


def _fingerprint(data: TrainingData) -> str:
    text = data.run.meta.get("data")
    return str(text.get("fingerprint", "")) if isinstance(text, Mapping) else ""


def _data(text: Mapping[str, Any]) -> str:
    parts = [_text(text.get("sources"))]
    splits = text.get("splits")
    names = {"train": tr("training"), "validation": tr("validation")}
    for name, split in splits.items() if isinstance(splits, Mapping) else ():
        tokens = split.get("tokens") if isinstance(split, Mapping) else None
        if isinstance(tokens, int):
            parts.append(
                tr("{tokens} tokens for {split}", tokens=f"{tokens:,}", split=names.get(name, name))
            )
    each = text.get("fingerprint")
    parts.append(tr("fingerprint {digits}", digits=str(each)[:12]) if each else "")
    return tr("; ").join(part for part in parts if part)


def _compiled(meta: Mapping[str, Any]) -> str:
    """Whether the step was compiled, and why not."""
    known, reason = meta.get("compiled"), meta.get("compile_reason")
    return tr("; ").join(text for text in (_text(known), translated(_text(reason))) if text)


def _watch(watch: object) -> str:
    """How the snapshots were measured while the run went on."""
    if not isinstance(watch, Mapping):
        return _NOT_KNOWN
    parts = []
    if count := _size(watch.get("measured")):
        parts.append(tr("{count} measured", count=count))
    if count := _size(watch.get("measured_at_end")):
        parts.append(tr("{count} of them at the end", count=count))
    if count := _size(watch.get("failed")):
        parts.append(tr("{count} failed", count=count))
    taken, share = watch.get("share_taken"), watch.get("share")
    if isinstance(taken, (int, float)) and isinstance(share, (int, float)):
        parts.append(
            tr(
                "{taken} of the machine while training, of at most {share}",
                taken=percent(taken),
                share=percent(share),
            )
        )
    return tr(", ").join(parts)


def _compared(differences: object) -> str:
    """Which snapshots of a tuning are compared with its base, and why others are not."""
    if not isinstance(differences, Mapping):
        return _NOT_KNOWN
    parts = []
    if _size(done := differences.get("compared")):
        parts.append(tr("compared with the base: {steps}", steps=_text(done)))
    failed = differences.get("failed")
    for step, reason in failed.items() if isinstance(failed, Mapping) else ():
        parts.append(tr("step {step}: {reason}", step=step, reason=translated(str(reason))))
    return tr("; ").join(parts)


def _size(of: object) -> int:
    """Entries of a list or a mapping of the metadata; 0 for anything else."""
    return len(of) if isinstance(of, (list, tuple, Mapping)) else 0


def _speed(throughput: object) -> str:
    """Floating-point operations, and their share of what a matrix product reaches here."""
    if not isinstance(throughput, Mapping):
        return _NOT_KNOWN
    rate, share = throughput.get("flops_per_second"), throughput.get("share_of_product")
    if not isinstance(rate, (int, float)):
        return _NOT_KNOWN
    text = f"{rate / 1e9:,.3g} GFLOP/s"
    if not isinstance(share, (int, float)):
        return text
    return tr("{rate}, {share} of a matrix product here", rate=text, share=percent(share))


def _steps(outcome: Outcome) -> str:
    done = f"{outcome.steps_done:,}"
    if outcome.planned_steps is None or outcome.planned_steps == outcome.steps_done:
        return done
    return tr("{done} of {planned}", done=done, planned=f"{outcome.planned_steps:,}")


def _at(value: float | None, step: int | None) -> str:
    if value is None or step is None:
        return _NOT_KNOWN
    return tr("{value} at step {step}", value=f"{value:.4f}", step=f"{step:,}")


def _rewards(outcome: Outcome) -> str:
    ends = (outcome.first_reward, outcome.last_reward)
    return " → ".join(f"{end:.4f}" for end in ends if end is not None)


def _number(value: object, form: str, unit: str = "") -> str:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return _NOT_KNOWN
    return f"{form.format(value)} {unit}".strip()


def _text(value: object) -> str:
    if value is None:
        return _NOT_KNOWN
    if isinstance(value, bool):
        return tr("yes") if value else tr("no")
    if isinstance(value, Mapping):
        return pairs_text({str(key): _text(of) for key, of in value.items() if of is not None})
    if isinstance(value, (list, tuple)):
        return enumerated(str(item) for item in value)
    return str(value)
