"""The file itself: header, metadata, tensor table, data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.weight import Weight
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import replacing, write_error
from mlx_probe.lab.export.gguf.architectures import Place
from mlx_probe.lab.export.gguf.architectures.architecture import Metadata
from mlx_probe.lab.export.gguf.shape import Shape
from mlx_probe.lab.export.gguf.types import interleave, is_packed, nbytes_of, read_as
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
        weights: Where its elements are; of a stack one for each expert.
        dtype: Value of `TYPES`.
    """

    place: Place
    weights: tuple[Weight, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return nbytes_of(self.place.shape, self.dtype)

    def data(self) -> Iterator[NDArray[Any]]:
        """What is written, one weight after the other."""
        if self.place.values:
            yield np.array(self.place.values, np.float32)
        for weight in self.weights:
            elements = read_as(weight, self.dtype)
            if self.place.turned_heads:
                elements = interleave(elements, self.place.turned_heads)
            if self.place.added:
                elements = elements + elements.dtype.type(self.place.added)
            yield np.ascontiguousarray(elements)


def write_gguf(
    out: Path,
    architecture: str,
    name: str,
    shape: Shape,
    metadata: Metadata,
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
        metadata: What else is said of the architecture.
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
            _add_metadata(writer, architecture, metadata)
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
    writer.add_rope_dimension_count(shape.rotary)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_vocab_size(shape.vocabulary)


def _add_metadata(writer: GGUFWriter, architecture: str, metadata: Metadata) -> None:
    for key, value in metadata.items():
        name = f"{architecture}.{key}"
        # A truth value is an integer, too.
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        else:
            writer.add_string(name, value)


def _write(
    writer: GGUFWriter,
    path: Path,
    tensors: Sequence[Tensor],
    total: int,
    on_progress: Callable[[int, int], None],
) -> None:
    from gguf import GGMLQuantizationType
    from gguf.quants import quant_shape_to_byte_shape

    for tensor in tensors:
        packed = is_packed(tensor.dtype)
        kind = GGMLQuantizationType[tensor.dtype]
        storage = np.dtype(np.uint8) if packed else DTYPES[tensor.dtype].storage
        # Of packed bytes the writer works the shape out of them.
        shape = (
            quant_shape_to_byte_shape(tensor.place.shape, kind) if packed else tensor.place.shape
        )
        writer.add_tensor_info(tensor.place.name, shape, storage, tensor.nbytes, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    # By ourselves: the writer's own way says of a full disk only how many items it wrote.
    done = 0
    with path.open("ab") as file:
        for tensor in tensors:
            writer.write_padding(file, file.tell())
            for elements in tensor.data():
                data: Any = elements
                file.write(memoryview(data).cast("B"))
                done += data.nbytes
                on_progress(done, total)
        writer.write_padding(file, file.tell())
