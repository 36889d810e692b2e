"""The facts of a model, from its headers and configuration."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.checkpoint import Checkpoint, open_checkpoint, text_config
from mlx_probe.core.errors import SourceError
from mlx_probe.lab.adapter_folder import find_adapter_folder
from mlx_probe.source import resolve

__all__ = ["ModelFacts", "context_of", "model_place", "read_facts"]


@dataclass(frozen=True)
class ModelFacts:
    """What a model is.

    Attributes:
        model: The reference that it was opened by.
        path: Its folder or file.
        format: Format of the files with weights.
        architecture: Family, layers, widths and heads; see `Architecture`.
        context: Positions that it was trained on; None if it does not say.
        parameters: Numbers in it.
        bytes: Size of the tensors.
        tensors: Parameters.
        types: Numbers by the type that they are stored in, most first.
        tied: Whether the output head is the embedding; None if it does not say.
        tokenizer: Algorithm of its tokenizer; None without one.
        tokens: Tokens of it.
        chat: Whether it has a chat template.
        adapter: What it is, if it is an adapter.
    """

    model: str
    path: Path
    format: str
    architecture: Mapping[str, Any]
    context: int | None
    parameters: int
    bytes: int
    tensors: int
    types: Mapping[str, int]
    tied: bool | None
    tokenizer: str | None
    tokens: int | None
    chat: bool
    adapter: Mapping[str, Any] | None

    @property
    def bits(self) -> float:
        """Bits for each number, scales and the like included."""
        return 8 * self.bytes / self.parameters if self.parameters else 0.0


def model_place(reference: str) -> str:
    """The reference of the model that a run left; any other reference as it is.

    Args:
        reference: A model reference, the folder of a training or tuning run, or its run_meta.json.
    """
    path = Path(reference).expanduser()
    if path.name == "run_meta.json":
        path = path.parent
        reference = str(path)
    if (path / "run_meta.json").is_file():
        if (path / "model" / "config.json").is_file():
            return str(path / "model")
        if (path / "adapter").is_dir():
            return str(find_adapter_folder(reference))
    return reference


def read_facts(reference: str) -> ModelFacts:
    """The facts of a model or adapter; no weights are read.

    Args:
        reference: A model reference, or the folder of a finished run.

    Raises:
        SourceError: It cannot be had.
        CheckpointError: Its headers or its tokenizer are damaged.
    """
    with open_checkpoint(resolve(model_place(reference))) as checkpoint:
        types: Counter[str] = Counter()
        for parameter in checkpoint.parameters:
            types[parameter.stored_as] += parameter.numel
        kind, tokens, chat = _tokenizer(checkpoint)
        adapter = checkpoint.adapter
        return ModelFacts(
            model=reference,
            path=checkpoint.files.path,
            format=checkpoint.framework,
            architecture=_known(checkpoint.architecture.describe()),
            context=context_of(checkpoint),
            parameters=sum(types.values()),
            bytes=sum(parameter.nbytes for parameter in checkpoint.parameters),
            tensors=len(checkpoint.parameters),
            types=dict(types.most_common()),
            tied=_tied(checkpoint),
            tokenizer=kind,
            tokens=tokens,
            chat=chat,
            adapter=adapter.describe() if adapter else None,
        )


def _known(described: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in described.items() if value not in (None, [], ())}


def context_of(checkpoint: Checkpoint) -> int | None:
    """Positions that a model was trained on; None if it does not say."""
    family = checkpoint.metadata.get("general.architecture")
    if checkpoint.framework == "gguf" and family is not None:
        value = checkpoint.metadata.get(f"{family}.context_length")
    else:
        value = text_config(checkpoint.config).get("max_position_embeddings")
    return int(value) if isinstance(value, int) and value > 0 else None


def _tied(checkpoint: Checkpoint) -> bool | None:
    if checkpoint.adapter is not None:
        return None
    if checkpoint.framework == "gguf":
        return all(parameter.name != "output.weight" for parameter in checkpoint.parameters)
    value = checkpoint.config.get("tie_word_embeddings")
    return value if isinstance(value, bool) else None


def _tokenizer(checkpoint: Checkpoint) -> tuple[str | None, int | None, bool]:
    """Algorithm, tokens, and whether there is a chat template."""
    said = checkpoint.metadata
    if checkpoint.framework == "gguf":
        names = [said.get(f"tokenizer.ggml.{key}") for key in ("model", "pre")]
        kind = ", ".join(str(name) for name in names if name) or None
        rows = checkpoint.architecture.vocab_size
        return kind, rows if kind else None, "tokenizer.chat_template" in said
    from mlx_probe.lab.generate.folder import tokenizer_folder

    try:
        folder = tokenizer_folder(checkpoint.files.weights[0].parent)
    except SourceError:
        return None, None, False
    from mlx_probe.lab.data.tokenizer import load_tokenizer

    loaded = load_tokenizer(folder)
    return _algorithm(folder), loaded.vocabulary, loaded.chat_template is not None


def _algorithm(folder: Path) -> str:
    described = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    kind = str(described["model"].get("type", "BPE"))
    return f"{kind} with byte fallback" if described["model"].get("byte_fallback") else kind
