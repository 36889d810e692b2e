"""The file itself: header, metadata, tensor table, data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.checkpoint.weight import Weight
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import replacing, write_error
from mlx_probe.lab.export.gguf.architecture import Place
from mlx_probe.lab.export.gguf.shape import Shape
from mlx_probe.lab.export.gguf.types import interleave, read_as
from mlx_probe.source.transfer.disk_space import require_space

if TYPE_CHECKING:
    from gguf import GGUFWriter

    from mlx_probe.lab.export.gguf.vocabulary import Vocabulary

__all__ = ["Tensor", "write_gguf"]


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file.

    Attributes:
        place: Its name and shape.
        weight: Where its elements are.
        dtype: Value of `TYPES`.
    """

    place: Place
    weight: Weight
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return prod(self.place.shape) * DTYPES[self.dtype].itemsize


def write_gguf(
    out: Path,
    architecture: str,
    name: str,
    shape: Shape,
    vocabulary: Vocabulary,
    tensors: Sequence[Tensor],
    dtype: str,
    on_progress: Callable[[int, int], None],
) -> int:
    """Write a file beside ``out`` and rename it.

    Args:
        out: The file; replaced.
        architecture: llama.cpp's name.
        name: The model's name.
        shape: The model's shape.
        vocabulary: Its tokenizer.
        tensors: In the order of the file.
        dtype: Type of the matrices.
        on_progress: See `Export`.

    Returns:
        Bytes of the file.

    Raises:
        ResultError: The disk refused, or is too small.
        CheckpointError: A tensor cannot be read.
        ConfigError: A tensor does not fit into its type.
    """
    from gguf import GGUFWriter

    total = sum(tensor.nbytes for tensor in tensors)
    if out.is_dir():
        raise ResultError(f"{out} is a folder", f"Name a file, such as --out {out / 'model.gguf'}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out.parent, error) from error
    require_space(out.parent, total, "the GGUF file", "--out")
    with replacing(out) as temporary:
        writer = GGUFWriter(temporary, architecture)
        try:
            _add_shape(writer, name, shape, dtype)
            vocabulary.add_to(writer)
            _write(writer, temporary, tensors, total, on_progress)
        finally:
            writer.close()
        return temporary.stat().st_size


def _add_shape(writer: GGUFWriter, name: str, shape: Shape, dtype: str) -> None:
    from gguf import LlamaFileType

    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(LlamaFileType[f"{'ALL' if dtype == 'F32' else 'MOSTLY'}_{dtype}"])
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.dim)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_vocab_size(shape.vocabulary)


def _write(
    writer: GGUFWriter,
    path: Path,
    tensors: Sequence[Tensor],
    total: int,
    on_progress: Callable[[int, int], None],
) -> None:
    from gguf import GGMLQuantizationType

    for tensor in tensors:
        place, storage = tensor.place, DTYPES[tensor.dtype].storage
        kind = GGMLQuantizationType[tensor.dtype]
        writer.add_tensor_info(place.name, place.shape, storage, tensor.nbytes, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    # By ourselves: the writer's own way says of a full disk only how many items it wrote.
    done = 0
    with path.open("ab") as file:
        for tensor in tensors:
            writer.write_padding(file, file.tell())
            elements = read_as(tensor.weight, tensor.dtype)
            if tensor.place.turned_heads:
                elements = interleave(elements, tensor.place.turned_heads)
            data: Any = np.ascontiguousarray(elements)
            file.write(memoryview(data).cast("B"))
            done += tensor.nbytes
            on_progress(done, total)
        writer.write_padding(file, file.tell())
