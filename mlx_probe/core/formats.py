"""The weight file formats: what choosing, fetching and reading a model's files need to know.

A new format is one file with a ``read_header`` and one record here. The table is in this room
because `source` chooses files and `checkpoint` reads them, and neither imports the other; readers
are named, not imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["FORMATS", "INDEX_END", "Format", "format_of", "index_suffixes", "weight_suffixes"]

# What follows a weight file's name in the name of its index: model.safetensors.index.json.
INDEX_END = ".index.json"


@dataclass(frozen=True)
class Format:
    """A weight file format.

    Attributes:
        title: Its name in the documentation.
        reader: Module that reads its files; see `checkpoint.formats.Reader`.
        names: What libraries call the one file of a model; one name for each suffix, the
            preferred suffix first.
        content: What of the format is read, for the documentation.
        other_names: What further libraries call that file.
        indexed: Suffixes of shards that an index may list.
        signature: First bytes that identify a file without a suffix; empty if there are none.
        adapters: What libraries call the file of an adapter, the preferred name first.
        not_weights: Globs on names of files with such a suffix that are no weights.
        separate: Whether each file is a separate model, also in a folder with other files.
        ambiguous: Whether other programs use these suffixes too. Then a file counts as a model
            for certain only with a config.json or an index in its folder.
    """

    title: str
    reader: str
    names: tuple[str, ...]
    content: str
    other_names: tuple[str, ...] = ()
    indexed: tuple[str, ...] = ()
    signature: bytes = b""
    adapters: tuple[str, ...] = ()
    not_weights: tuple[str, ...] = ()
    separate: bool = False
    ambiguous: bool = False

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Ends of its files' names, the preferred one first."""
        return tuple(PurePosixPath(name).suffix for name in self.names)


# By the name that rows give (`framework`), in order of preference: where a model comes in
# several formats, safetensors is what others were converted from.
FORMATS: dict[str, Format] = {
    "safetensors": Format(
        title="safetensors",
        reader="mlx_probe.checkpoint.formats.safetensors",
        names=("model.safetensors",),
        content="single files and shards: F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I8 to I64, "
        "U8 to U64, BOOL",
        # Of diffusers.
        other_names=("diffusion_pytorch_model.safetensors",),
        indexed=(".safetensors",),
        # Of PEFT, and of mlx-lm.
        adapters=("adapter_model.safetensors", "adapters.safetensors"),
        not_weights=("optimizer*.safetensors",),
    ),
    "gguf": Format(
        title="GGUF",
        reader="mlx_probe.checkpoint.formats.gguf",
        names=("model.gguf",),
        content="versions 2 and 3, split files: F64, F32, F16, BF16, integers, and every block "
        "type that the `gguf` package decodes (Q4_0 ... Q8_0, K-quants, IQ, TQ, MXFP4, NVFP4)",
        # Ollama's files have no suffix.
        signature=b"GGUF",
        separate=True,
    ),
    "pytorch": Format(
        title="PyTorch",
        reader="mlx_probe.checkpoint.formats.torch",
        names=("pytorch_model.bin", "model.pt", "model.pth"),
        content="single files and shards, zip layout and the older one",
        other_names=("diffusion_pytorch_model.bin",),
        indexed=(".bin",),
        adapters=("adapter_model.bin",),
        # Files of trainers, tokenizers and other engines.
        not_weights=(
            "training_args.bin",
            "optimizer*.bin",
            "optimizer*.pt",
            "*optim_states.pt",
            "scheduler*.bin",
            "scheduler*.pt",
            "scaler.pt",
            "sampler*.bin",
            "rng_state*.pth",
            "rng_state*.pt",
            "tokenizer*.bin",
            "tokenizer*.pt",
            "vocab*.bin",
            "vocab*.pt",
            "openvino_*.bin",
            "ggml-*.bin",
        ),
        ambiguous=True,
    ),
    "npz": Format(
        title="NPZ",
        reader="mlx_probe.checkpoint.formats.npz",
        names=("weights.npz",),
        content="of numpy and of MLX, stored or deflated",
        adapters=("adapters.npz",),
        not_weights=("optimizer*.npz",),
        ambiguous=True,
    ),
}


def weight_suffixes() -> tuple[str, ...]:
    """Ends of all weight files' names, in order of preference."""
    return tuple(suffix for form in FORMATS.values() for suffix in form.suffixes)


def index_suffixes() -> tuple[str, ...]:
    """Ends of the names of all indices."""
    return tuple(suffix + INDEX_END for form in FORMATS.values() for suffix in form.indexed)


def format_of(suffix: str) -> Format | None:
    """The format with a suffix, in upper or lower case; None if there is none."""
    return next((form for form in FORMATS.values() if suffix.lower() in form.suffixes), None)
