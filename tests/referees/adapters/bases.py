"""Tiny models of transformers with random weights, the bases of the adapters."""

import zlib
from functools import cache

import numpy as np
from lab import transformers

SMALL = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 60,
    "max_position_embeddings": 32,
}
LLAMA = SMALL | {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 4, "vocab_size": 60, "n_positions": 32}
MIXTURE = LLAMA | {"num_local_experts": 3, "num_experts_per_tok": 2}
OPT = {
    **{"hidden_size": 24, "ffn_dim": 40, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"vocab_size": 60, "max_position_embeddings": 32, "word_embed_proj_dim": 24},
}
WHISPER = {
    **{"d_model": 24, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4},
    **{"decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40},
    **{"vocab_size": 60, "num_mel_bins": 8, "max_source_positions": 16, "pad_token_id": 0},
    **{"max_target_positions": 16, "bos_token_id": 1, "eos_token_id": 2},
    "decoder_start_token_id": 1,
}
RESNET = {
    **{"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "num_channels": 3},
    **{"layer_type": "basic", "num_labels": 3},
}
# Name to class of the model, class of its configuration, and settings.
MODELS = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", LLAMA | {"tie_word_embeddings": False}),
    "llama tied": ("LlamaForCausalLM", "LlamaConfig", LLAMA | {"tie_word_embeddings": True}),
    "llama biased": ("LlamaForCausalLM", "LlamaConfig", LLAMA | {"attention_bias": True}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2 | {"tie_word_embeddings": False}),
    "gpt2 tied": ("GPT2LMHeadModel", "GPT2Config", GPT2),
    "bert": ("BertForMaskedLM", "BertConfig", SMALL),
    "bert classifier": ("BertForSequenceClassification", "BertConfig", SMALL),
    "opt": ("OPTForCausalLM", "OPTConfig", OPT),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", MIXTURE),
    "gpt-oss": (
        "GptOssForCausalLM",
        "GptOssConfig",
        MIXTURE | {"intermediate_size": 24, "head_dim": 6},
    ),
    "whisper": ("WhisperForConditionalGeneration", "WhisperConfig", WHISPER),
    "resnet": ("ResNetForImageClassification", "ResNetConfig", RESNET),
}


def values(name, shape):
    """A parameter's values: always the same for a name, whatever numpy's version."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    return (0.2 * random.standard_normal(shape)).astype(np.float32)


@cache
def model(name):
    """The base in memory."""
    import torch

    architecture, config, settings = MODELS[name]
    library = transformers()
    built = getattr(library, architecture)(getattr(library, config)(**settings)).float().eval()
    with torch.no_grad():
        for key, parameter in built.named_parameters():
            parameter.copy_(torch.from_numpy(values(key, parameter.shape)))
    return built
