"""How many numbers a model has, and how many of them each new token reads."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_probe.analysis.mixture.router import active_experts
from mlx_probe.checkpoint import PLAIN, Checkpoint, Weight
from mlx_probe.compute.backends.quantization import GROUP_SIZE
from mlx_probe.core.dtypes import DTYPES

__all__ = ["ModelSizes", "is_quantizable", "sizes_of"]

# Components outside the language model, which generation does not read for each token.
_TOWERS = frozenset(("vision", "audio", "projector", "mtp"))


@dataclass(frozen=True)
class ModelSizes:
    """Elements of a model by what a width does to them.

    Attributes:
        matrices: In matrices that MLX quantizes: rows of a multiple of 64.
        rest: In vectors and other matrices, which keep 16 bits.
        stored: Bytes as they are stored.
        read_matrices: Of ``matrices``, those that a new token reads: without the embedding, of
            which it reads one row, and without the experts that it does not use.
        read_rest: The same of ``rest``.
        products: Matrices that a token is multiplied with.
        active: Experts that a token uses; None without experts.
        experts: Experts of a layer; None without.
        unread: Why the numbers that a token reads are not known; "" if they are.
        packed: How the matrices are stored, if not as plain floats; "" if they are.
        stored_bits: Bits of the largest plain type; 0 if the matrices are packed.
    """

    matrices: int
    rest: int
    stored: int
    read_matrices: float
    read_rest: float
    products: float
    active: int | None
    experts: int | None
    unread: str
    packed: str
    stored_bits: int

    def weight_bytes(self, bits: int, other_bytes: int) -> int:
        """Bytes of all weights.

        Args:
            bits: Of an element of the matrices: below 16 MLX's affine quantization.
            other_bytes: Of an element that is not quantized, and of a scale or bias.
        """
        return round(self.matrices * bytes_of(bits, other_bytes) + self.rest * other_bytes)


def bytes_of(bits: int, other_bytes: int) -> float:
    """Bytes of an element of a matrix, with its part of the group's scale and bias.

    Args:
        bits: Below 16 those of MLX's affine quantization.
        other_bytes: Of an element that is not quantized, and of a scale or bias.
    """
    return float(other_bytes) if bits >= 16 else bits / 8 + 2 * other_bytes / GROUP_SIZE


def is_quantizable(weight: Weight) -> bool:
    """Whether MLX quantizes a weight: a matrix of floats whose rows are whole groups."""
    return weight.has_spectrum and weight.cols is not None and weight.cols % GROUP_SIZE == 0


def sizes_of(checkpoint: Checkpoint) -> ModelSizes:
    """Count the elements of a model; only headers are read.

    Args:
        checkpoint: The model.
    """
    whole = [w for w in checkpoint.weights() if w.part is None and w.numel]
    active = active_experts(checkpoint.config, checkpoint.metadata)
    experts = max((w.expert_index + 1 for w in whole if w.expert_index is not None), default=None)
    share, unread = 1.0, ""
    if experts is not None:
        if active is None or active > experts:
            unread = "its configuration does not say how many experts a token uses"
        else:
            share = active / experts
    # Where the embedding is the output head, too, a token is multiplied with all of it.
    tied = all(weight.role.component != "output" for weight in whole)
    matrices = rest = 0
    read_matrices = read_rest = products = 0.0
    packings, widths = set[str](), set[int]()
    for weight in whole:
        part = share if weight.expert_index is not None else 1.0
        if weight.role.component in _TOWERS or (weight.role.block_type == "embedding" and not tied):
            part = 0.0
        if is_quantizable(weight):
            matrices += weight.numel
            read_matrices += part * weight.numel
            products += part
            if weight.parameter.packing == PLAIN:
                widths.add(8 * DTYPES[weight.dtype].itemsize)
            else:
                packings.add(weight.parameter.stored_as)
        else:
            rest += weight.numel
            read_rest += part * weight.numel
    return ModelSizes(
        matrices,
        rest,
        checkpoint_bytes(checkpoint),
        read_matrices,
        read_rest,
        products,
        active if experts is not None else None,
        experts,
        unread,
        ", ".join(sorted(packings)),
        0 if packings else max(widths, default=0),
    )


def checkpoint_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of all parameters as stored."""
    return sum(parameter.nbytes for parameter in checkpoint.parameters)
