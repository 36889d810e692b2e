"""What goes with the weights of a graft: config.json, tokenizer, generation settings, license."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.checkpoint.parameter import PLAIN
from mlx_probe.core.errors import SourceError
from mlx_probe.lab.derived_model import copy_texts, plain_config, write_json
from mlx_probe.lab.generate.folder import tokenizer_folder

if TYPE_CHECKING:
    from mlx_probe.lab.moe.graft.tensors import Grafter

__all__ = ["write_texts"]


def write_texts(graft: Grafter, folder: Path, new: Path) -> None:
    """Write config.json of the mixture, and copy the dense model's other files.

    Args:
        graft: What the mixture is made from.
        folder: The dense model.
        new: Where the mixture is written.

    Raises:
        OSError: The disk refused.
    """
    model, dense, sizes = graft.model, graft.dense, graft.sizes
    stock = dense.stock
    packed = any(parameter.packing != PLAIN for parameter in model.parameters)
    dense_config = plain_config(model, graft.config.dtype, packed)
    # Scaled embeddings were refused; transformers 5 has one key for both.
    unused = {*stock.unused, "rope_scaling"}
    values: dict[str, Any] = {
        **{key: value for key, value in dense_config.items() if key not in unused},
        "architectures": [stock.architecture],
        "model_type": stock.model_type,
        # The defaults of the mixture's class are others than those of the dense one.
        "num_key_value_heads": model.config.get("num_key_value_heads")
        or model.config["num_attention_heads"],
        "rms_norm_eps": model.config.get("rms_norm_eps", 1e-6),
        "max_position_embeddings": model.config.get("max_position_embeddings", 2048),
        "rope_theta": dense.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": dense.rope_theta},
        "tie_word_embeddings": dense.tied,
        **stock.sizes(sizes.experts, sizes.width, sizes.active),
    }
    if stock.own_head_dim:
        # Qwen3Config takes 128 for what is left out.
        values["head_dim"] = model.config.get("head_dim") or 128
    write_json(new / "config.json", values)
    try:
        tokenizer = tokenizer_folder(folder)
    except SourceError:
        # Weights alone can be grafted; to run them needs a tokenizer, and says so.
        tokenizer = folder
    copy_texts(folder, tokenizer, new)
