"""DeepSeek-V3 in one sparse GGUF of 404 GB, with the names and types that llama.cpp writes.

Checked against logs of llama.cpp that load the published Q4_K_M: 1,025 tensors, of which 361 are
F32, 606 Q4_K and 58 Q6_K. Publishers split it into files of at most 50 GB; this is one. Files made
since llama.cpp 5100 have ``attn_k_b`` and ``attn_v_b`` in place of ``attn_kv_b``. Tokens and merges
are as many as the published ones, and other texts.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from _checkpoints import Shape
from _rehearsal_deepseek import Deepseek
from _rehearsal_files import mark
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, ExpertGatingFuncType, LlamaFileType

__all__ = ["quantized", "write_gguf"]

MERGES = 127_741


def quantized(of: Deepseek) -> dict[str, tuple[str, Shape]]:
    """Type and shape of each tensor of Q4_K_M, by its name."""
    hidden, layers = of.hidden, of.layers
    queries, values = of.heads * (of.head + of.rotary), of.heads * of.head
    tensors: dict[str, tuple[str, Shape]] = {
        "token_embd.weight": ("Q4_K", (of.vocabulary, hidden)),
        "output_norm.weight": ("F32", (hidden,)),
        "output.weight": ("Q6_K", (of.vocabulary, hidden)),
    }
    for layer in range(layers):
        # Llama.cpp gives more bits to the first and last eighth of the layers, and to every third.
        eighth = layers // 8
        more = layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
        down = "Q6_K" if more else "Q4_K"
        block = {
            "attn_norm.weight": ("F32", (hidden,)),
            "attn_q_a_norm.weight": ("F32", (of.query_rank,)),
            "attn_kv_a_norm.weight": ("F32", (of.value_rank,)),
            "ffn_norm.weight": ("F32", (hidden,)),
            "attn_q_a.weight": ("Q4_K", (of.query_rank, hidden)),
            "attn_q_b.weight": ("Q4_K", (queries, of.query_rank)),
            "attn_kv_a_mqa.weight": ("Q4_K", (of.value_rank + of.rotary, hidden)),
            "attn_kv_b.weight": ("Q4_K", (2 * values, of.value_rank)),
            "attn_output.weight": ("Q4_K", (hidden, values)),
        }
        stacks: dict[str, tuple[Shape, int]] = {"": ((), of.width)}
        if layer >= of.dense:
            block["ffn_gate_inp.weight"] = "F32", (of.experts, hidden)
            block["exp_probs_b.bias"] = "F32", (of.experts,)
            stacks = {
                "_exps": ((of.experts,), of.expert_width),
                "_shexp": ((), of.expert_width),
            }
        for end, (stack, width) in stacks.items():
            block[f"ffn_gate{end}.weight"] = "Q4_K", (*stack, width, hidden)
            block[f"ffn_up{end}.weight"] = "Q4_K", (*stack, width, hidden)
            block[f"ffn_down{end}.weight"] = down, (*stack, hidden, width)
        tensors |= {f"blk.{layer}.{name}": tensor for name, tensor in block.items()}
    return tensors


def write_gguf(path: Path, of: Deepseek) -> int:
    """Write the file.

    Returns:
        Bytes of its tensors.
    """
    writer = GGUFWriter(path, "deepseek2")
    writer.add_name("DeepSeek V3")
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_block_count(of.layers)
    writer.add_context_length(163840)
    writer.add_embedding_length(of.hidden)
    writer.add_feed_forward_length(of.width)
    writer.add_head_count(of.heads)
    writer.add_head_count_kv(of.heads)
    writer.add_key_length(of.head + of.rotary)
    writer.add_value_length(of.head)
    writer.add_rope_dimension_count(of.rotary)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_q_lora_rank(of.query_rank)
    writer.add_kv_lora_rank(of.value_rank)
    writer.add_leading_dense_block_count(of.dense)
    writer.add_expert_count(of.experts)
    writer.add_expert_used_count(8)
    writer.add_expert_shared_count(1)
    writer.add_expert_feed_forward_length(of.expert_width)
    writer.add_expert_weights_scale(2.5)
    writer.add_expert_weights_norm(True)
    writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
    writer.add_vocab_size(of.vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token{number}" for number in range(of.vocabulary)])
    writer.add_token_types([1] * of.vocabulary)
    writer.add_token_merges([f"to ken{number}" for number in range(MERGES)])
    sizes = []
    for name, (kind, shape) in quantized(of).items():
        dtype = GGMLQuantizationType[kind]
        elements, each = GGML_QUANT_SIZES[dtype]
        sizes.append(prod(shape) // elements * each)
        writer.add_tensor_info(name, shape, np.dtype(np.float32), sizes[-1], dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        place = GGUFWriter.ggml_pad(path.stat().st_size, 32)
        for number, (size, (_, shape)) in enumerate(
            zip(sizes, quantized(of).values(), strict=True)
        ):
            mark(file, place, size, shape, number)
            place = GGUFWriter.ggml_pad(place + size, 32)
        file.truncate(place)
    return sum(sizes)
