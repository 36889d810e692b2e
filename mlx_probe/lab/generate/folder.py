"""The folder of a model in Hugging Face's layout, from a model reference."""

from __future__ import annotations

from pathlib import Path

from mlx_probe.core.errors import SourceError
from mlx_probe.core.records import ModelFiles
from mlx_probe.source import parse_reference, resolve

__all__ = ["find_model_folder", "tokenizer_folder"]

_LAYOUT = "config.json, safetensors files and tokenizer.json"


def find_model_folder(reference: str) -> Path:
    """The folder with a model's files, fetched if need be.

    Args:
        reference: A model reference, or the folder of a finished training run or its run_meta.json.

    Returns:
        A folder with config.json and safetensors files; for a GGUF file one that is made of it
        and kept in the cache.

    Raises:
        SourceError: The model cannot be had, or is in another layout.
        CheckpointError: It is a GGUF file that cannot be read; see `import_gguf`.
    """
    path = Path(reference).expanduser()
    if path.name == "run_meta.json":
        path = path.parent
        reference = str(path)
    # A graft and the like lie beside their metadata, a training's model in a folder of its own.
    beside = any((path / name).is_file() for name in ("config.json", "adapter_config.json"))
    if (path / "run_meta.json").is_file() and not beside:
        if not (path / "model" / "config.json").is_file():
            raise SourceError(
                f"{path} is a run without a finished model",
                f"Give one of its snapshots, such as {path / 'snapshots' / 'step-N'}, or go on "
                "with the training",
            )
        return path / "model"
    files = resolve(reference)
    if _is_gguf(files.weights[0]):
        from mlx_probe.lab.import_gguf import import_gguf

        return import_gguf(files)
    _refuse_other_layouts(reference, files)
    folder = files.weights[0].parent
    ref = parse_reference(reference)
    if ref.source == "hub" and not (folder / "tokenizer.json").is_file():
        # An analysis needs no tokenizer; a download brings it.
        from mlx_probe.library.download import download

        download(ref)
    return folder


def tokenizer_folder(folder: Path) -> Path:
    """The folder with a model's tokenizer: its own, or for a snapshot that of its run.

    Args:
        folder: See `find_model_folder`.

    Raises:
        SourceError: There is no tokenizer.
    """
    places = [folder]
    if folder.parent.name == "snapshots":
        run = folder.parent.parent
        places += [run / "data" / "tokenizer", run / "model"]
    for place in places:
        if (place / "tokenizer.json").is_file():
            return place
    raise SourceError(
        f"{folder} has no tokenizer.json",
        "Copy it there; `transformers` writes one with `AutoTokenizer...save_pretrained(DIR)`",
    )


def _is_gguf(path: Path) -> bool:
    if path.suffix.lower() == ".gguf":
        return True
    if path.suffix:
        return False
    # Ollama's blobs have no suffix.
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def _refuse_other_layouts(reference: str, files: ModelFiles) -> None:
    suffix = files.weights[0].suffix.lower()
    if suffix != ".safetensors":
        raise SourceError(
            f"{reference} is a {suffix or 'nameless'} file, which is not run here",
            f"Give the model in Hugging Face's layout: {_LAYOUT}",
        )
    if files.config is not None and files.config.name == "adapter_config.json":
        raise SourceError(
            f"{reference} is an adapter, not a model",
            "Merge it first: `mlx-probe merge BASE ADAPTER --out DIR`",
        )
    if files.config is None:
        raise SourceError(
            f"{files.weights[0].parent} has no config.json",
            f"Give a model in Hugging Face's layout: {_LAYOUT}",
        )
