"""Adapters of mlx-lm, merged and in PEFT's form, run by transformers and PEFT.

mlx-lm's own layers have random factors. The logits of base and adapter in mlx-lm, of the merged
model in mlx-lm and in transformers, and of the exported adapter in PEFT are the same.
"""

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from lora_adapters import KEYS, logits, mlx_adapter
from tiny_llm import make_model, make_tokenizer

from mlx_probe.lab.export import EXPORTS
from mlx_probe.lab.merge import merge_adapter

TOKENS = [3, 17, 200, 5, 91, 44, 260, 8]
ALL = (*KEYS, "self_attn.k_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj")
# By name: the kind, the modules, and whether the model is a qwen3.
CASES = {
    "lora": ("lora", KEYS, False),
    "lora on every projection": ("lora", ALL, True),
    "dora": ("dora", KEYS, True),
    "dora on every projection": ("dora", ALL, False),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_logits(tmp_path, case):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    peft = pytest.importorskip("peft", reason="peft is in the referees extra")
    kind, keys, qk_norm = CASES[case]
    with mx.stream(mx.cpu):
        tokenizer = make_tokenizer(tmp_path / "tokenizer")
        base = make_model(tmp_path / "base", tokenizer, dim=64, hidden=64, qk_norm=qk_norm)
        want = logits(mlx_adapter(tmp_path / "adapter", base, kind, keys))
        plain = logits(mlx_lm("utils").load_model(base)[0])
        assert np.abs(want - plain).max() > 0.1
        merge_adapter(str(base), str(tmp_path / "adapter"), tmp_path / "merged")
        assert (
            np.abs(logits(mlx_lm("utils").load_model(tmp_path / "merged")[0]) - want).max() < 1e-4
        )
    EXPORTS["peft"](str(tmp_path / "adapter"), tmp_path / "peft")
    load = transformers.AutoModelForCausalLM.from_pretrained
    adapted = peft.PeftModel.from_pretrained(load(base, dtype=torch.float32), tmp_path / "peft")
    for model in (load(tmp_path / "merged", dtype=torch.float32), adapted):
        with torch.no_grad():
            got = model.eval()(torch.tensor([TOKENS])).logits[0].double().numpy()
        assert np.abs(got - want).max() < 1e-4
