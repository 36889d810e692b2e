"""A model in Hugging Face's layout as one GGUF file: read top to bottom."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

from mlx_probe.checkpoint import Checkpoint, open_checkpoint
from mlx_probe.checkpoint.weight import Weight
from mlx_probe.core.errors import CheckpointError, ConfigError, damaged
from mlx_probe.lab.export.gguf.architectures import ARCHITECTURES, Place
from mlx_probe.lab.export.gguf.placement import place_tensors
from mlx_probe.lab.export.gguf.read_shape import read_shape
from mlx_probe.lab.export.gguf.types import TYPES, check_type
from mlx_probe.lab.export.gguf.vocabulary import read_vocabulary
from mlx_probe.lab.export.gguf.write import write_gguf
from mlx_probe.lab.export.protocol import Exported
from mlx_probe.lab.generate.folder import find_model_folder, tokenizer_folder
from mlx_probe.source import resolve

__all__ = ["export_gguf"]


def export_gguf(
    reference: str,
    out: Path,
    kind: str = "auto",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write a model as a GGUF file that llama.cpp runs; see `Export`.

    One tensor at a time is in memory. Vectors are float32, as llama.cpp wants them; see
    `place_tensors` for the other types. A head that is the embedding is left out: llama.cpp takes
    the embedding where a file has none.

    Args:
        reference: See `Export`.
        out: See `Export`.
        kind: Key of `TYPES`, or "auto" for the type that the matrices are stored in.
        on_progress: See `Export`.

    Raises:
        SourceError: The model or its tokenizer cannot be had.
        CheckpointError: It is damaged, or llama.cpp has no place for something in it.
        ConfigError: The type does not hold the numbers.
        ResultError: The disk refused.
    """
    check_type(kind)
    folder = find_model_folder(reference)
    tokens = tokenizer_folder(folder)
    _refuse_own_file(out, (folder, tokens))
    with open_checkpoint(resolve(str(folder))) as checkpoint:
        path = checkpoint.files.config or folder / "config.json"
        config = checkpoint.config
        shape = read_shape(path, config)
        architecture = ARCHITECTURES[shape.model_type]
        places = tuple(architecture.places(shape))
        weights = _weights(checkpoint, places, shape.tied_embeddings)
        vocabulary = read_vocabulary(tokens, folder, shape.vocabulary)
        chosen = _stored_type(folder, weights) if kind == "auto" else kind
        tensors, notes = place_tensors(places, weights, TYPES[chosen], shape.tied_embeddings)
        size = write_gguf(
            out,
            architecture.name,
            checkpoint.files.model_id,
            shape,
            architecture.metadata(config, shape),
            vocabulary,
            tensors,
            TYPES[chosen],
            on_progress,
        )
    return Exported(
        model=reference,
        file=out,
        type=chosen,
        architecture=architecture.name,
        parameters=sum(prod(place.shape) for place in places if not place.values),
        tensors=len(places),
        bytes=size,
        tokenizer=vocabulary.kind,
        vocabulary=len(vocabulary.tokens),
        notes=(*architecture.notes(config, shape), *notes, *vocabulary.notes),
    )


def _refuse_own_file(out: Path, folders: tuple[Path, ...]) -> None:
    inside = out.resolve().parent in [folder.resolve() for folder in folders]
    if inside and out.is_file() and out.suffix.lower() != ".gguf":
        raise ConfigError(
            f"{out} belongs to the model that is exported",
            f"Choose another file, such as --out {out.with_suffix('.gguf')}",
        )


def _weights(
    checkpoint: Checkpoint, places: tuple[Place, ...], tied: bool
) -> Mapping[str, tuple[Weight, ...]]:
    """The weights of each place by its name in the file; none is left over."""
    path = checkpoint.files.path
    stored: defaultdict[str, list[Weight]] = defaultdict(list)
    for weight in checkpoint.weights():
        if weight.part is None:
            stored[weight.name].append(weight)
    if tied:
        # Some writers store the head although it is the embedding.
        stored.pop("lm_head.weight", None)
    found: dict[str, tuple[Weight, ...]] = {}
    for place in places:
        if place.values:
            found[place.name] = ()
            continue
        stack = place.stack is not None and place.stack in stored
        names = (str(place.stack),) if stack else place.sources
        if missing := next((name for name in names if name not in stored), None):
            raise damaged(path, f"tensor {missing} is missing")
        weights = tuple(weight for name in names for weight in stored.pop(name))
        _check_shapes(path, place, weights)
        found[place.name] = weights
    if more := next(iter(stored), None):
        raise CheckpointError(
            f"{path}: tensor {more} has no place in llama.cpp's {checkpoint.config['model_type']}",
            "Convert the model with convert_hf_to_gguf.py of llama.cpp",
        )
    return found


def _check_shapes(path: Path, place: Place, weights: tuple[Weight, ...]) -> None:
    several = len(place.sources) > 1 or place.stack is not None
    shape = place.shape[1:] if several else place.shape
    if several and len(weights) != place.shape[0]:
        fact = f"tensor {weights[0].name} holds {len(weights)} experts, not {place.shape[0]}"
        raise damaged(path, fact, "Correct config.json, or get the model again")
    for weight in weights:
        if weight.shape != shape:
            fact = f"tensor {weight.name} has the shape {weight.shape}, not {shape}"
            raise damaged(path, fact, "Correct config.json, or get the model again")


def _stored_type(folder: Path, weights: Mapping[str, tuple[Weight, ...]]) -> str:
    sizes: Counter[str] = Counter()
    for weight in (each for several in weights.values() for each in several):
        if weight.rows is not None:
            sizes[weight.parameter.stored_as] += weight.numel
    stored = sizes.most_common(1)[0][0]
    names = {name: kind for kind, name in TYPES.items()}
    if stored not in names:
        raise ConfigError(
            f"{folder} stores {stored}, which is not written to GGUF",
            f"Choose --type {', '.join(TYPES)}",
        )
    return names[stored]
