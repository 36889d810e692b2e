"""Every architecture that is exported, built by transformers and run by llama.cpp."""

import copy
import json
import random
import shutil

import numpy as np
import pytest
from exported import export, stored
from tiny_llm import TEXTS

from mlx_probe.lab.export.gguf.architectures import ARCHITECTURES
from mlx_probe.lab.export.gguf.read_shape import read_shape
from mlx_probe.lab.export.gguf.types import TYPES, is_packed
from referees.architectures.models import build, save
from referees.export.llama_cpp import running
from referees.export.test_llama_cpp import TOKENIZERS

pytestmark = pytest.mark.slow
PROMPTS, LENGTH = 20, 8
SIZES = {
    "hidden_size": 64, "head_dim": 32, "intermediate_size": 96, "num_hidden_layers": 4,
    "max_position_embeddings": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 5e4}}
# By name: transformers' class, further settings, and the tokenizer.
CASES = {
    "llama": ("LlamaForCausalLM", ROPE, "pieces"),
    "llama, stretched": (
        "LlamaForCausalLM",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
        "bytes of Llama 3",
    ),
    "mistral": ("MistralForCausalLM", ROPE | {"sliding_window": None}, "pieces"),
    "qwen2": ("Qwen2ForCausalLM", ROPE | {"head_dim": None}, "bytes of Qwen2"),
    "qwen2, tied": ("Qwen2ForCausalLM", {"tie_word_embeddings": True, "head_dim": None}, "bytes"),
    "qwen3": ("Qwen3ForCausalLM", ROPE, "bytes of Qwen2"),
    "qwen3_moe": (
        "Qwen3MoeForCausalLM",
        ROPE
        | {
            "num_local_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "norm_topk_prob": True,
        },
        "bytes of Qwen2",
    ),
    "gemma": ("GemmaForCausalLM", {}, "pieces"),
    "gemma2": (
        "Gemma2ForCausalLM",
        {
            "query_pre_attn_scalar": 32,
            "sliding_window": 4,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 8.0,
        },
        "pieces",
    ),
    "gemma3_text": (
        "Gemma3ForCausalLM",
        {
            "query_pre_attn_scalar": 32,
            "sliding_window": 4,
            "num_hidden_layers": 7,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e5},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
            },
        },
        "pieces",
    ),
    "phi3": ("Phi3ForCausalLM", ROPE | {"head_dim": None}, "pieces"),
    "phi3, part of a head": (
        "Phi3ForCausalLM",
        {
            "head_dim": None,
            "hidden_size": 128,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "partial_rotary_factor": 0.5,
            },
        },
        "bytes",
    ),
}


def made(case, folder):
    """A model of transformers, its folder, and its tokenizer."""
    architecture, options, tokens = CASES[case]
    tokenizer = TOKENIZERS[tokens](folder / "tokenizer")
    sizes = {**SIZES, "vocab_size": tokenizer.vocabulary, **options}
    model = build(architecture, {key: value for key, value in sizes.items() if value is not None})
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "embed" not in name:
            # llama.cpp looks GELU up in a table of float16: larger numbers, larger errors.
            parameter.data *= 1 if case.startswith("gemma") else 2
        elif case.startswith("gemma") and "norm" in name:
            parameter.data -= 1
    # llama.cpp looks for tokens of the published Phi-3 in any model that is named so.
    target = folder / "tiny"
    target.mkdir()
    save(model, target)
    for path in tokenizer.folder.iterdir():
        shutil.copy(path, target)
    return model, target, tokenizer


def log_probabilities(model, ids):
    """Of every token after each of these, in float64."""
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
    return torch.log_softmax(logits, -1).numpy()


def test_every_architecture_has_a_case():
    assert {name.split(",")[0] for name in CASES} == set(ARCHITECTURES)


@pytest.mark.parametrize("case", CASES)
def test_answers(tmp_path, case):
    model, folder, tokenizer = made(case, tmp_path)
    export(folder, tmp_path / "m.gguf")
    draw = random.Random(3)
    words = " ".join(TEXTS).split()
    prompts = [" ".join(draw.sample(words, draw.randrange(1, 5))) for _ in range(PROMPTS)]
    [letter] = tokenizer.encode("e")
    seen, steps, worst = set(), 0, 0.0
    with running(tmp_path / "m.gguf") as llama:
        for prompt in prompts:
            ids = llama.tokens(prompt)
            assert ids == tokenizer.encode(prompt)
            answer = llama.continued(ids, LENGTH)
            if answer and answer[-1] in tokenizer.stop_ids:
                answer.pop()
            theirs = llama.log_probabilities(ids, tokenizer.vocabulary, letter)
            ours = log_probabilities(model, ids + answer)
            first = ours[len(ids) - 1]
            worst = max(worst, *(abs(first[i] - value) for i, value in theirs.items()))
            greedy = ours[len(ids) - 1 :].argmax(-1).tolist()
            assert greedy[: len(answer)] == answer
            assert len(answer) == LENGTH or greedy[len(answer)] in tokenizer.stop_ids
            steps += len(answer)
            seen.update(answer)
    # Enough answers, which are not all the same token.
    assert steps > PROMPTS * LENGTH // 2
    assert len(seen) > 20
    assert worst < 5e-3


@pytest.mark.parametrize("kind", [kind for kind, name in TYPES.items() if is_packed(name)])
def test_packed_types(tmp_path, kind):
    """llama.cpp reads the blocks as the engine does; it rounds the inputs of products as well."""
    import torch

    model, folder, tokenizer = made("qwen3", tmp_path)
    export(folder, tmp_path / "m.gguf", kind)
    unpacked = copy.deepcopy(model)
    parameters, tensors = dict(unpacked.named_parameters()), stored(tmp_path / "m.gguf")
    config = json.loads((folder / "config.json").read_text())
    for place in ARCHITECTURES["qwen3"].places(read_shape(folder, config)):
        values = np.array(tensors[place.name][1]).reshape(place.shape)
        parameters[place.sources[0]].data = torch.from_numpy(values)
    ids = tokenizer.encode("To be, or not to be")
    with running(tmp_path / "m.gguf") as llama:
        theirs = llama.log_probabilities(ids, tokenizer.vocabulary, tokenizer.encode("e")[0])
    ours = [log_probabilities(each, ids)[-1] for each in (unpacked, model)]
    near, far = (max(abs(each[i] - value) for i, value in theirs.items()) for each in ours)
    assert near < 0.5
    assert near < far
