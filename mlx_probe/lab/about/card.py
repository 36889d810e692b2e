"""A model card: README.md with a block of metadata, as Hugging Face reads it.

Everything in it is read from the model and from what made, measured and changed it: nothing is
guessed. It is English, as model cards are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mlx_probe.core.errors import ResultError
from mlx_probe.core.markdown import escaped, section, table
from mlx_probe.core.units import format_size
from mlx_probe.lab.about.facts import ModelFacts, model_place, read_facts
from mlx_probe.lab.about.history import History, read_history
from mlx_probe.lab.moe.stock import DYNAMIC

__all__ = ["MARK", "Card", "model_card"]

# In every card that we write: such a file may be replaced.
MARK = "<!-- written by mlx-probe -->"
# Sections of a recipe, and what decides a training most.
_RECIPE = {
    "model": ("dim", "layers", "heads", "context"),
    "adapter": ("method", "rank", "scale", "layers", "targets"),
    "gate": ("active", "begin", "open", "scale"),
    "loss": ("distillation", "temperature", "language"),
    "optimizer": ("name", "weight_decay"),
    "train": ("steps", "batch", "accumulation", "learning_rate", "schedule", "seed", "dropout"),
}
_GRPO = ("prompts", "group", "temperature", "kl", "normalization", "rewards")
# Of a comparison: columns, and how many tensors are shown.
_COLUMNS = ("param_name", "relative_change", "delta_effective_rank", "intruder_count")
_SHOWN = 8
# Of an evaluation: what it was, not what it gave.
_ABOUT = ("model", "task", "data", "dtype", "device", "runs_by", "config", "settings")


@dataclass(frozen=True)
class Card:
    """A card.

    Attributes:
        text: Markdown with its block of metadata.
        place: Where it belongs: README.md beside the weights; None for a file without a folder
            of its own.
        sections: Titles that it has.
    """

    text: str
    place: Path | None
    sections: tuple[str, ...]


def model_card(
    reference: str, evaluations: Sequence[Path] = (), comparisons: Sequence[Path] = ()
) -> Card:
    """The card of a model.

    Args:
        reference: A model reference, or the folder of a finished run.
        evaluations: Documents of `mlx-probe evaluate`, as JSON.
        comparisons: Runs of `mlx-probe compare`: folders, or their run_meta.json.

    Raises:
        SourceError: The model cannot be had.
        CheckpointError: Its headers are damaged.
        ResultError: An evaluation or a run cannot be read.
    """
    facts = read_facts(reference)
    folder = Path(model_place(reference)).expanduser()
    history = read_history(reference, folder if folder.is_dir() else facts.path.parent)
    results = [(path, _read(path)) for path in evaluations]
    changes = [_comparison(path) for path in comparisons]
    parts = {
        "Facts": table(("", ""), _facts(facts)),
        "How it was trained": _trained(history),
        "How it was changed": _changed(history, changes),
        "How it was evaluated": _evaluated(history, results),
        "Use": _use(facts, folder),
    }
    shown = {title: text for title, text in parts.items() if text}
    name = _name(reference)
    body = [f"# {escaped(name)}", MARK, *(section(title, text) for title, text in shown.items())]
    metadata = _metadata(facts, history, name, results)
    block = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True).strip()
    text = f"---\n{block}\n---\n\n" + "\n\n".join(body) + "\n"
    return Card(text, folder / "README.md" if folder.is_dir() else None, tuple(shown))


def _name(reference: str) -> str:
    path = Path(reference).expanduser()
    if path.exists():
        whole = path.resolve()
        whole = whole.parent if whole.is_file() and whole.name == "run_meta.json" else whole
        # A run's model is named by the run.
        return whole.parent.name if whole.name in ("model", "adapter") else whole.name
    return reference


def _metadata(
    facts: ModelFacts,
    history: History,
    name: str,
    results: Sequence[tuple[Path, Mapping[str, Any]]],
) -> dict[str, Any]:
    """The block that Hugging Face reads."""
    base = history.base
    library = "peft" if _is_peft(facts) else "mlx" if _is_mlx(facts) else "transformers"
    if facts.architecture.get("model_type") == DYNAMIC:
        library = "mlx-probe"
    block: dict[str, Any] = {
        "library_name": library,
        "pipeline_tag": "text-generation",
        "tags": sorted({"mlx-probe", *history.tags}),
    }
    if base is not None:
        block["base_model"] = base
        relation = "adapter" if facts.adapter else "quantized" if _is_mlx(facts) else "finetune"
        block["base_model_relation"] = relation
    if history.datasets:
        block["datasets"] = list(history.datasets)
    metrics = [
        {"type": key, "value": value}
        for _, result in results
        for key, value in sorted(_numbers(result).items())
    ]
    if metrics:
        entry = {"task": {"type": "text-generation"}, "metrics": metrics}
        block["model-index"] = [{"name": name, "results": [entry]}]
    return block


def _is_peft(facts: ModelFacts) -> bool:
    return facts.adapter is not None and facts.adapter.get("layout") == "peft"


def _is_mlx(facts: ModelFacts) -> bool:
    own = facts.adapter is not None and facts.adapter.get("layout") == "mlx-lm"
    return own or any(kind.startswith("mlx ") for kind in facts.types)


def _facts(facts: ModelFacts) -> list[tuple[str, str]]:
    shape = facts.architecture
    types = ", ".join(
        f"{name} ({100 * count / facts.parameters:.3g} %)" for name, count in facts.types.items()
    )
    adapter = facts.adapter or {}
    tokenizer = f"{facts.tokenizer}, {facts.tokens:,} tokens" if facts.tokens else ""
    lines = {
        "Architecture": str(shape.get("model_type", "")),
        "Shape": ", ".join(
            f"{key.replace('_', ' ')} {shape[key]}"
            for key in (
                "layers",
                "hidden_size",
                "heads",
                "kv_heads",
                "intermediate_size",
                "experts",
            )
            if key in shape
        ),
        "Parameters": f"{facts.parameters:,}",
        "Stored as": types,
        "Bits a number": f"{facts.bits:.2f}",
        "Size": format_size(facts.bytes),
        "Context": f"{facts.context:,} tokens" if facts.context else "",
        "Tokenizer": tokenizer + (", chat template" if facts.chat else ""),
        "Format": facts.format,
        "Adapter": ", ".join(
            f"{key} {adapter[key]}"
            for key in ("kind", "layout", "ranks", "scale", "base_model")
            if adapter.get(key) not in (None, [])
        ),
    }
    return [(name, escaped(text)) for name, text in lines.items() if text]


def _trained(history: History) -> str:
    run = history.run
    if run is None:
        return ""
    recipe = run.get("recipe") or {}
    lines: dict[str, Any] = {
        "Command": f"mlx-probe {str(run.get('kind')).replace('-', ' ')}",
        "Base": history.base,
        "Teacher": run.get("teacher"),
        "Gates": run.get("gate"),
        "Learned": run.get("learn"),
        "Data": _data(run.get("data")),
        "Tokens": run.get("tokens") or run.get("planned_tokens"),
        "Steps": run.get("steps_done") or run.get("planned_steps"),
        "Learned numbers": run.get("learned_parameters"),
        "Time": f"{run['training_seconds']:,.0f} s" if "training_seconds" in run else None,
        "Device": run.get("device"),
        "Ended": run.get("ended_at") or run.get("created_at"),
        "mlx-probe": run.get("version") or run.get("mlx_probe"),
    }
    learns_rewards = run.get("objective") == "grpo"
    for part, keys in {**_RECIPE, **({"grpo": _GRPO} if learns_rewards else {})}.items():
        settings = recipe.get(part) or {}
        lines |= {f"{part}.{key}": settings.get(key) for key in keys}
    shown = [
        (name, escaped(_text(value)))
        for name, value in lines.items()
        if value not in (None, [], {}, "")
    ]
    return table(("", ""), shown)


def _data(data: Any) -> str:
    if not isinstance(data, dict):
        return ""
    names = ("source", "sources", "name", "documents", "examples", "tokens", "train", "valid")
    return ", ".join(f"{key} {_text(data[key])}" for key in names if data.get(key))


def _changed(
    history: History, changes: Sequence[tuple[Sequence[str], Sequence[Mapping[str, Any]]]]
) -> str:
    parts = []
    if history.derivation is not None:
        parts.append(history.derivation.text)
    parts += [_moved(*change) for change in changes]
    return "\n\n".join(parts)


def _moved(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """The tensors of a comparison that changed most."""
    changed = [row for row in rows if row["relative_change"]]
    most = sorted(changed, key=lambda row: -row["relative_change"])[:_SHOWN]
    text = (
        f"{' and '.join(map(escaped, names))}, compared by `mlx-probe compare`: {len(changed)} of "
        f"{len(rows)} tensors differ. Those that changed most:"
    )
    cells = [
        tuple(escaped(_text(row[column])) if row[column] is not None else "" for column in _COLUMNS)
        for row in most
    ]
    return f"{text}\n\n{table([escaped(column) for column in _COLUMNS], cells)}"


def _evaluated(history: History, results: Sequence[tuple[Path, Mapping[str, Any]]]) -> str:
    rows = []
    for name in ("final", "best"):
        found = (history.run or {}).get(name)
        for key, value in found.items() if isinstance(found, dict) else ():
            if isinstance(value, int | float) and not isinstance(value, bool):
                rows.append((f"training, {name}", escaped(key), _text(value)))
    if history.derivation is not None:
        measured = history.derivation.measured
        rows += [
            ("when it was made", escaped(key), _text(value)) for key, value in measured.items()
        ]
    for path, result in results:
        task = f"{result.get('task', path.stem)} on {result.get('data', path.name)}"
        rows += [
            (escaped(task), escaped(key), _text(value)) for key, value in _numbers(result).items()
        ]
    return table(("evaluation", "metric", "value"), rows) if rows else ""


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """What an evaluation gave: numbers, and those inside of intervals and groups."""
    found: dict[str, float] = {}
    for key, value in result.items():
        if key in _ABOUT or isinstance(value, bool):
            continue
        if isinstance(value, int | float):
            found[key] = value
        elif isinstance(value, dict):
            found |= {
                f"{key}.{inner}": each
                for inner, each in value.items()
                if isinstance(each, int | float) and not isinstance(each, bool)
            }
    return found


def _use(facts: ModelFacts, folder: Path) -> str:
    if facts.adapter is not None or facts.format != "safetensors" or not folder.is_dir():
        return ""
    if facts.architecture.get("model_type") == DYNAMIC:
        # mlx-lm and transformers refuse it.
        return '```console\n$ mlx-probe generate PATH --prompt "Hello"\n```'
    lines = [
        "from mlx_lm import generate, load",
        "",
        'model, tokenizer = load("PATH")',
        'print(generate(model, tokenizer, prompt="Hello"))',
    ]
    return "```python\n" + "\n".join(lines) + "\n```"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    return str(value)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ResultError(
            f"cannot read {path}: {error}", "Give what `mlx-probe evaluate --json` printed"
        ) from error
    if not isinstance(content, dict):
        raise ResultError(
            f"{path} is no JSON object", "Give what `mlx-probe evaluate --json` printed"
        )
    return content


def _comparison(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Names of both models, and the rows of a finished run of `compare`."""
    from mlx_probe.runs.load import locate_run, read_table
    from mlx_probe.runs.meta import read_meta

    run = locate_run(path)
    meta = read_meta(run)
    if meta.get("kind") != "compare":
        raise ResultError(
            f"{path} is no comparison", "Give the folder of a run of `mlx-probe compare`"
        )
    rows, _, _ = read_table(run, _COLUMNS)
    return [str(each["id"]) for each in meta["models"].values()], rows.to_pylist()
