"""A model card in Markdown, made only from what the catalog knows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from mlx_probe.core.markdown import escaped, section, table
from mlx_probe.core.units import format_size
from mlx_probe.library.catalog.records import Analysis, Model
from mlx_probe.library.catalog.relatives import find_versions
from mlx_probe.source.stores import STORES

__all__ = ["card_text"]


def card_text(model: Model, models: Iterable[Model]) -> str:
    """The card of a model.

    Args:
        model: The model.
        models: All models of the catalog; its other versions are among them.

    Returns:
        Markdown; sections without content are left out.
    """
    versions = find_versions(model, models)
    measured = [run for run in model.analyses if run.kind == "analyze"]
    parts = [
        f"# {escaped(model.id)}",
        _escaped_lines(model.description),
        section("Facts", table(("", ""), _facts(model))),
        section("Versions", _versions(model, versions)),
        section("Performance on this machine", _performance(measured)),
        section("Usage", _usage(model)),
        section("Notes", _escaped_lines(model.note)),
        section("Tags", _escaped_lines(", ".join(model.tags))),
        section("Related runs", _runs(model.analyses)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(model: Model) -> list[tuple[str, str]]:
    dtypes = ", ".join(
        f"{name} ({100 * count / model.parameters:.3g} %)" if model.parameters else name
        for name, count in model.dtypes.items()
    )
    shape = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in model.shape.items())
    facts = {
        "Revision": model.revision,
        "Format": model.format,
        "Architecture": model.architecture,
        "Shape": shape,
        "Adapter": model.adapter,
        "Parameters": f"{model.parameters:,}" if model.parameters is not None else "",
        "Stored as": dtypes,
        "Bits per weight": f"{model.bits:.2f}" if model.bits is not None else "",
        "Size on disk": format_size(model.size),
        "Licence": model.licence,
        "Base model": ", ".join(model.base_models),
        "Source": model.url,
        "Found in": STORES[model.store].title if model.store in STORES else model.store,
        "Path": str(model.path),
        "Files written": model.modified_at[:10],
        "Problem": model.problem,
        "Missing": "its files have gone" if model.missing else "",
    }
    hashes = [(f"sha256 of {file.path.name}", file.sha256) for file in model.weights if file.sha256]
    lines = [line for line in (*facts.items(), *hashes) if line[1]]
    return [(escaped(name), escaped(text)) for name, text in lines]


def _versions(model: Model, versions: Sequence[tuple[Model, str]]) -> str:
    if not versions:
        return ""
    lines = [(model, "this one"), *versions]
    rows = [
        (
            escaped(other.id),
            escaped(other.dtype),
            f"{other.bits:.2f}" if other.bits is not None else "",
            format_size(other.size),
            escaped(other.format),
            escaped(why),
        )
        for other, why in sorted(lines, key=lambda line: line[0].size)
    ]
    return table(("model", "stored as", "bits per weight", "size", "format", "why"), rows)


def _performance(runs: Sequence[Analysis]) -> str:
    rows = [
        (
            escaped(run.created_at[:10]),
            escaped(
                " on ".join(str(run.facts[n]) for n in ("backend", "device") if n in run.facts)
            ),
            f"{run.facts['seconds']:.1f} s" if "seconds" in run.facts else "",
            f"{run.facts['gbps']:.2f} GB/s" if "gbps" in run.facts else "",
            format_size(int(run.facts["peak_memory"])) if "peak_memory" in run.facts else "",
        )
        for run in runs
        if run.facts.keys() & {"seconds", "gbps", "peak_memory"}
    ]
    header = ("analysis of", "backend", "time", "bandwidth", "peak memory")
    return table(header, rows) if rows else ""


def _usage(model: Model) -> str:
    if model.missing or model.problem:
        return ""
    path = shlex.quote(str(model.path))
    if not str(model.path).isprintable():
        return ""  # the shown text would not be the path
    lines = []
    # A model of several files in a folder with other models has no path of its own.
    if (
        not model.weights
        or not model.id.endswith(f":{model.weights[0].path.name}")
        or (model.path == model.weights[0].path)
    ):
        lines += [f"mlx-probe inspect {path}", f"mlx-probe analyze {path}"]
    plain_id = re.fullmatch(r"[\w./:-]+", model.id) is not None
    if model.store == "ollama" and not model.adapter and plain_id:
        lines.append(f"ollama run {model.id}")
    elif model.format == "gguf" and model.weights and not model.adapter:
        lines.append(f"llama-cli -m {shlex.quote(str(model.weights[0].path))}")
    blocks = [_fenced("sh", "\n".join(lines))] if lines else []
    if model.format == "safetensors" and not model.adapter and _has_config(model):
        name = repr(str(model.path))
        if model.dtype.startswith("mlx"):
            code = f"from mlx_lm import load\n\nmodel, tokenizer = load({name})"
        else:
            code = (
                "from transformers import AutoModel\n\n"
                f"model = AutoModel.from_pretrained({name}, local_files_only=True)"
            )
        blocks.append(_fenced("python", code))
    return "\n\n".join(blocks)


def _has_config(model: Model) -> bool:
    return any(file.role == "config" for file in model.files)


def _runs(runs: Sequence[Analysis]) -> str:
    return "\n".join(
        f"- {escaped(run.kind)}, {escaped(run.created_at[:10])}: {escaped(str(run.path))}"
        for run in runs
    )


def _fenced(language: str, code: str) -> str:
    # The fence is longer than every sequence of backticks in the code.
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def _escaped_lines(text: str) -> str:
    """Text that Markdown shows line by line, and not as list, heading or code."""
    lines = (escaped(line.strip()) for line in text.splitlines())
    harmless = (re.sub(r"^(\d*)([-=.)])", r"\1\\\2", line) for line in lines)
    return "  \n".join(line for line in harmless if line)
