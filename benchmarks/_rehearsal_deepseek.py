"""The network of DeepSeek-V3, in FP8 as it is published, and as llama.cpp quantizes it.

Checked against what is publicly known of the repository: 91,991 tensors; 680,571,043,840 elements
of FP8, 3,918,786,560 of BF16 and 41,555,600 of F32; 163 files, of which 1, 13, 35, 57, 79, 101,
123, 142 and 161 begin a stage of the network; the files of the embedding, the head, and the parts
of the last layer that no other layer has. Not known: with which tensor a file inside of a stage
ends. Here it ends at 4.3 billion elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from _checkpoints import Shape
from _rehearsal_models import Model, Tensors

__all__ = ["Deepseek"]

# A square of this side has one scale.
BLOCK = 128
# Layers at which the published files begin anew.
STAGES = (7, 15, 23, 31, 39, 47, 54)


@dataclass(frozen=True)
class Deepseek:
    """A network of the kind of DeepSeek-V3; without arguments, that of 671 billion parameters."""

    layers: int = 61
    dense: int = 3
    experts: int = 256
    hidden: int = 7168
    width: int = 18432
    expert_width: int = 2048
    heads: int = 128
    query_rank: int = 1536
    value_rank: int = 512
    head: int = 128
    rotary: int = 64
    vocabulary: int = 129280

    def model(self) -> Model:
        """It in files, FP8 in blocks, with the layer that predicts a second token."""
        ends = [end for end in STAGES if end < self.layers] + [self.layers]
        stages = []
        for begin, end in zip([0, *ends], ends, strict=False):
            stage = {} if begin else self._embedding("model.embed_tokens.weight")
            for layer in range(begin, end):
                stage |= dict(self._layer(layer))
            stages.append(stage)
        stages[-1] |= self._norm("model.norm.weight") | self._embedding("lm_head.weight")
        stages.append(self._next_token(self.layers))
        return Model(
            name="deepseek-ai/DeepSeek-V3",
            config=self.config(),
            stages=stages,
            limit=4.3e9,
            counts_elements=True,
            most=3,
            digits=6,
        )

    def config(self) -> dict[str, Any]:
        """The published settings."""
        return {
            "architectures": ["DeepseekV3ForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "aux_loss_alpha": 0.001,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "ep_size": 1,
            "first_k_dense_replace": self.dense,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.width,
            "kv_lora_rank": self.value_rank,
            "max_position_embeddings": 163840,
            "model_type": "deepseek_v3",
            "moe_intermediate_size": self.expert_width,
            "moe_layer_freq": 1,
            "n_group": 8,
            "n_routed_experts": self.experts,
            "n_shared_experts": 1,
            "norm_topk_prob": True,
            "num_attention_heads": self.heads,
            "num_experts_per_tok": 8,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.heads,
            "num_nextn_predict_layers": 1,
            "pretraining_tp": 1,
            "q_lora_rank": self.query_rank,
            "qk_nope_head_dim": self.head,
            "qk_rope_head_dim": self.rotary,
            "quantization_config": {
                "activation_scheme": "dynamic",
                "fmt": "e4m3",
                "quant_method": "fp8",
                "weight_block_size": [BLOCK, BLOCK],
            },
            "rms_norm_eps": 1e-06,
            "rope_scaling": {
                "beta_fast": 32,
                "beta_slow": 1,
                "factor": 40,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "original_max_position_embeddings": 4096,
                "type": "yarn",
            },
            "rope_theta": 10000,
            "routed_scaling_factor": 2.5,
            "scoring_func": "sigmoid",
            "seq_aux": True,
            "tie_word_embeddings": False,
            "topk_group": 4,
            "topk_method": "noaux_tc",
            "torch_dtype": "bfloat16",
            "transformers_version": "4.33.1",
            "use_cache": True,
            "v_head_dim": self.head,
            "vocab_size": self.vocabulary,
        }

    def _embedding(self, name: str) -> Tensors:
        return {name: ("BF16", (self.vocabulary, self.hidden))}

    def _norm(self, name: str, size: int = 0) -> Tensors:
        return {name: ("BF16", (size or self.hidden,))}

    def _layer(self, layer: int) -> Iterator[tuple[str, tuple[str, Shape]]]:
        block, hidden = f"model.layers.{layer}", self.hidden
        attention, mlp = f"{block}.self_attn", f"{block}.mlp"
        yield from _fp8(f"{attention}.q_a_proj", self.query_rank, hidden)
        yield from self._norm(f"{attention}.q_a_layernorm.weight", self.query_rank).items()
        wide = self.heads * (self.head + self.rotary)
        yield from _fp8(f"{attention}.q_b_proj", wide, self.query_rank)
        yield from _fp8(f"{attention}.kv_a_proj_with_mqa", self.value_rank + self.rotary, hidden)
        yield from self._norm(f"{attention}.kv_a_layernorm.weight", self.value_rank).items()
        yield from _fp8(f"{attention}.kv_b_proj", 2 * self.heads * self.head, self.value_rank)
        yield from _fp8(f"{attention}.o_proj", hidden, self.heads * self.head)
        if layer < self.dense:
            yield from self._mlp(mlp, self.width)
        else:
            yield f"{mlp}.gate.weight", ("BF16", (self.experts, hidden))
            yield f"{mlp}.gate.e_score_correction_bias", ("F32", (self.experts,))
            for name in ("shared_experts", *(f"experts.{i}" for i in range(self.experts))):
                yield from self._mlp(f"{mlp}.{name}", self.expert_width)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield from self._norm(f"{block}.{norm}.weight").items()

    def _mlp(self, name: str, width: int) -> Iterator[tuple[str, tuple[str, Shape]]]:
        yield from _fp8(f"{name}.gate_proj", width, self.hidden)
        yield from _fp8(f"{name}.up_proj", width, self.hidden)
        yield from _fp8(f"{name}.down_proj", self.hidden, width)

    def _next_token(self, layer: int) -> Tensors:
        """The layer behind the last one, with an embedding and a head of its own."""
        block = f"model.layers.{layer}"
        tensors = dict(self._layer(layer))
        for norm in ("enorm", "hnorm", "shared_head.norm"):
            tensors |= self._norm(f"{block}.{norm}.weight")
        tensors[f"{block}.eh_proj.weight"] = "BF16", (self.hidden, 2 * self.hidden)
        for name in ("embed_tokens", "shared_head.head"):
            tensors |= self._embedding(f"{block}.{name}.weight")
        return tensors


def _fp8(name: str, rows: int, cols: int) -> Iterator[tuple[str, tuple[str, Shape]]]:
    yield f"{name}.weight", ("F8_E4M3", (rows, cols))
    scales = (-(-rows // BLOCK), -(-cols // BLOCK))
    yield f"{name}.weight_scale_inv", ("F32", scales)
