"""Whole models that transformers, torchao and optimum-quanto quantize and save themselves."""

import numpy as np
import pytest
from weightfiles import whole

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.source import resolve

SIZES = {"hidden_size": 256, "intermediate_size": 384, "num_hidden_layers": 1, "vocab_size": 96}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False}
# Projections of the one layer; quanto's also have the output layer.
TORCHAO, QUANTO = 7, 8


def llama():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(2)
    return LlamaForCausalLM(LlamaConfig(**SIZES))


def int8(quantization, torch):
    return quantization.Int8WeightOnlyConfig(version=2)


def int8_both(quantization, torch):
    return quantization.Int8DynamicActivationInt8WeightConfig(version=2)


def float8(quantization, torch):
    return quantization.Float8WeightOnlyConfig(version=2)


def intx(quantization, torch):
    granularity = quantization.PerGroup(32)
    return quantization.IntxWeightOnlyConfig(weight_dtype=torch.int3, granularity=granularity)


def agree(folder, module, count):
    """Every weight that was quantized is read as the module dequantizes it."""
    values = dict(module.named_parameters())
    rows = open_checkpoint(resolve(str(folder))).weights()
    assert {row.problem for row in rows} == {None}
    packed = [row for row in rows if row.parameter.decode]
    assert len(packed) == count
    for row in packed:
        expected = values[row.name].dequantize().detach().float().numpy()
        np.testing.assert_allclose(whole(row), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("settings", [int8, int8_both, float8, intx])
def test_torchao_by_transformers(tmp_path, settings):
    quantization = pytest.importorskip("torchao.quantization")
    import torch
    from transformers import LlamaForCausalLM, TorchAoConfig

    llama().save_pretrained(tmp_path / "plain")
    config = TorchAoConfig(settings(quantization, torch))
    quantized = LlamaForCausalLM.from_pretrained(
        tmp_path / "plain", quantization_config=config, dtype=torch.float32
    )
    quantized.save_pretrained(tmp_path / "quantized")
    agree(tmp_path / "quantized", quantized, TORCHAO)


@pytest.mark.parametrize("kind", ["qint8", "qint4", "qint2", "qfloat8"])
def test_quanto(tmp_path, kind):
    quanto = pytest.importorskip("optimum.quanto")
    pytest.importorskip("accelerate")
    module = llama()
    saved = quanto.QuantizedModelForCausalLM.quantize(module, weights=getattr(quanto, kind))
    saved.save_pretrained(tmp_path / "quantized")
    agree(tmp_path / "quantized", module, QUANTO)
