"""What config.json declares decides where pieces look alike; what contradicts it is refused."""

import make_packings
import numpy as np
import pytest
from hf_packings import GOLDEN, opened
from weightfiles import whole

from mlx_probe.core.errors import PackingError

MXFP4 = "compressed: compressed_tensors mxfp4-pack-quantized"
NVFP4 = "compressed: compressed_tensors nvfp4-pack-quantized"
MXINT4 = "auto_round_mx: compressed_tensors AutoRound mx_int4"
GROUP = "compressed_tensors 4 bit group"
ASYMMETRIC = "compressed_tensors 4 bit asymmetric"
AUTO_2 = "auto_round_int: gptq auto_round 2 bit asymmetric"
AUTO_5 = "auto_round_int: awq auto_round:auto_awq 5 bit"
NVFP4_2, MXFP4_2 = "modelopt: modelopt NVFP4", "modelopt: modelopt MXFP4"
HQQ = "hqq: hqq 4 bit axis 1"
SPARSE = "bitmask: bitmask sparse-24-bitmask float8_e4m3fn"
BITNET = "bitnet: bitnet bitlinear"
GPTQ, AWQ = "gptq gptq 4 bit", "awq gemm 64"
FORMATS = ("marlin", "bitblas", "gemm", "exllama", "x")
VERSIONS = ("gemv_fast", "exllama", "marlin", "llm-awq", "x")
ALL = make_packings.fixtures() | GOLDEN


def given(**settings):
    return lambda tensors, config: (tensors, config | settings)


def alone(**settings):
    """Only these settings."""
    return lambda tensors, config: (tensors, settings)


def without(*names):
    return lambda tensors, config: (
        {name: tensor for name, tensor in tensors.items() if name not in names},
        config,
    )


def changed(change, **settings):
    """A change of the tensors, and other settings."""
    return lambda tensors, config: change(tensors, config | settings)


def halves(**settings):
    """AWQ's words as twice as many of half the size, and other settings."""

    def change(tensors, config):
        words = tensors["m.qweight"][0].view("<i2"), "I16"
        return tensors | {"m.qweight": words}, config | settings

    return change


def of_groups(**weights):
    """Other settings of the weights in every group of modules."""

    def change(tensors, config):
        (group,) = config["config_groups"].values()
        return tensors, config | {
            "config_groups": {"g": group | {"weights": group["weights"] | weights}}
        }

    return change


def replaced(name, array, dtype):
    return lambda tensors, config: (tensors | {name: (array, dtype)}, config)


def with_scaled_inputs(tensors, config):
    return tensors | {"m.pre_quant_scale": (np.ones(192, "<f4"), "F32")}, config


REFUSED = [
    # Bytes for two columns, with a byte for each 32 of them, are three formats.
    (MXFP4, alone(), "its pieces may be mxfp4 or mxint4 or nvfp4_v2"),
    (MXFP4, alone(quant_method="compressed-tensors"), "its pieces may be mxfp4 or nvfp4_v2; conf"),
    (MXINT4, alone(), "its pieces may be mxfp4 or mxint4 or nvfp4_v2"),
    (MXINT4, given(data_type="int"), "or mxint4 or nvfp4_v2, which config.json's data_type 'int'"),
    (MXINT4, given(packing_format="auto_round:gptqmodel"), "'auto_round:gptqmodel' does not store"),
    (MXFP4, given(format="pack-quantized"), "or mxint4 or nvfp4_v2, which .* 'pack-quantized' is"),
    (NVFP4, given(format="mxfp4-pack-quantized"), "its pieces are nvfp4, which config.json's form"),
    (NVFP4, without("m.weight_global_scale"), "weight_global_scale missing"),
    (GROUP, given(format="int-quantized"), "pieces are words, which config.json's format 'int-"),
    (GROUP, of_groups(group_size=48), "means group 32, which none of config.json's config_groups"),
    (GROUP, of_groups(strategy="channel"), "means group 32, which none of config.json's"),
    (GROUP, of_groups(num_bits=8), "do not show the bits of each"),
    (GROUP, of_groups(actorder="group"), "weight_g_idx missing; config.json: actorder 'group'"),
    (ASYMMETRIC, without("m.weight_zero_point"), "weight_zero_point missing; config.json: symm"),
    *(
        (GROUP, given(format=name), f"the compressed-tensors format '{name}' is not supported")
        for name in ("marlin-24", "sparse-24-bitmask", "sparse-bitmask", "dense", "x")
    ),
    *((GPTQ, given(checkpoint_format=name), f"GPTQ format '{name}' is not") for name in FORMATS),
    (GPTQ, given(is_marlin_format=True), "the GPTQ format 'marlin' is not supported"),
    (GPTQ, given(quant_method="qqq"), "config.json declares the quantization 'qqq'"),
    (GPTQ, changed(without("m.g_idx"), desc_act=True), "g_idx missing; config.json: desc_act"),
    *((AWQ, given(version=name), f"AWQ of 4 bits in the version '{name}'") for name in VERSIONS),
    (AWQ, given(bits=5), "AWQ of 5 bits"),
    (AWQ, halves(version="gemv_fast"), "AWQ of 4 bits in the version 'gemv_fast'"),
    (AWQ, halves(), "m.qweight is I16 instead of I32"),
    (AUTO_2, given(packing_format=None), "AutoRound's packing_format None is not supported"),
    (AUTO_2, given(packing_format="auto_round:marlin"), "packing_format 'auto_round:marlin' is"),
    (AUTO_2, given(packing_format="auto_round:llm_compressor"), "llm_compressor' is not support"),
    (AUTO_2, given(bits=4), "config.json has 4 bits, which do not fit qweight"),
    (AUTO_5, given(bits=4), "do not hold 4 bits"),
    (NVFP4_2, given(quant_algo="W4A16_AWQ"), "which config.json's quant_algo 'W4A16_AWQ' is not"),
    (NVFP4_2, given(quant_algo="NVFP4_SVD"), "which config.json's quant_algo 'NVFP4_SVD' is not"),
    (NVFP4_2, given(quant_method="compressed-tensors"), "declares the quantization 'compressed-"),
    (NVFP4_2, without("m.weight_scale_2"), "mxfp4, which config.json's quant_algo 'NVFP4' is not"),
    (NVFP4_2, without("m.weight_scale"), "weight_scale missing"),
    (NVFP4_2, with_scaled_inputs, "weights for scaled inputs are not supported"),
    (MXFP4_2, given(quant_algo=None), "those of mxfp4, which config.json's quant_algo None is not"),
    (BITNET, given(linear_class="x"), "BitNet's linear_class 'x' is not supported"),
    (BITNET, without("m.weight_scale"), "weight_scale missing"),
    (HQQ, without("m.axis"), "HQQ's axis missing beside W_q"),
    (HQQ, without("m.zero"), "zero missing"),
    (HQQ, without("m.W_q"), "m.weight: W_q missing beside its codes"),
    (HQQ, given(quant_method="gptq"), "config.json declares the quantization 'gptq'"),
    (HQQ, replaced("m.packing", np.frombuffer(b"4bit_x", np.uint8), "U8"), "packing '4bit_x' is"),
    (HQQ, replaced("m.packing", np.frombuffer(b"2bit_u8", np.uint8), "U8"), "do not hold 2 bits"),
    (HQQ, replaced("m.quant_zero", np.uint8([1]), "U8"), "HQQ's quant_zero of 1 is not supported"),
    (HQQ, replaced("m.channel_wise", np.uint8([0]), "U8"), "HQQ's channel_wise of 0 is not"),
    (HQQ, replaced("m.group_size", np.int32([32]), "I32"), "m.scale has the shape"),
    (HQQ, replaced("m.shape", np.int64([32, 41]), "I64"), "do not hold 4 bits of 32 x 41"),
    (HQQ, replaced("m.shape", np.int64([31, 41]), "I64"), "31 x 41 elements are not groups of 16"),
    (HQQ, replaced("m.axis", np.int32([2]), "I32"), "axis 2 are no matrix"),
    (SPARSE, given(sparsity_config={"format": "sparse-bitmask"}), "config.json: 'sparse-bitmask'"),
    (SPARSE, given(sparsity_config={}), "its pieces are sparse-24-bitmask, config.json: 'float-"),
    (SPARSE, alone(), "belongs to m.bitmask, which is packed and not understood"),
    (SPARSE, without("m.bitmask"), "bitmask missing beside its codes"),
    (SPARSE, without("m.shape"), "shape missing beside its values"),
    (SPARSE, without("m.weight_scale"), "F8_E4M3 without a scale"),
    (
        SPARSE,
        replaced("m.shape", np.int64([12, 60]), "I64"),
        r"m.compressed has the shape \[12, 32\] instead of \[12, 30\]",
    ),
    (GROUP, given(format=["a"]), "format .*'a'.* is not supported"),
]


@pytest.mark.parametrize(("case", "change", "message"), REFUSED)
def test_pieces_and_declarations_that_disagree_are_refused(tmp_path, case, change, message):
    tensors, config, _ = ALL[case]
    weights = opened(tmp_path, *change(dict(tensors), dict(config)))
    assert all(weight.problem for weight in weights)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(weight.problem for weight in weights))


READ = [
    # A float type whose scales and factor are of no other format needs no declaration.
    (NVFP4, alone()),
    ("compressed: compressed_tensors mxfp6-pack-quantized", alone()),
    # One model may have several formats: each group of modules names its own.
    (MXFP4, lambda t, c: (t, c | {"format": "mixed-precision", "config_groups": TWO})),
    (NVFP4, lambda t, c: (t, c | {"format": "mixed-precision", "config_groups": TWO})),
    (MXINT4, given(data_type="mx_int")),
    # Nothing else has a second scale; single layers have algorithms of their own.
    (NVFP4_2, alone()),
    (NVFP4_2, given(quant_algo="MIXED_PRECISION", quantized_layers={"m": {"quant_algo": "NVFP4"}})),
    # The kernel in the third place says nothing about the layout.
    (AUTO_2, given(packing_format="auto_round:gptqmodel:exllamav2")),
    # Single layers have bits and groups of their own; shapes show them.
    (AUTO_2, given(bits=4, group_size=128, extra_config={"m": {"bits": 2, "group_size": 32}})),
    (AUTO_5, given(bits=4, group_size=128, extra_config={"m": {"bits": 5, "group_size": 32}})),
    (MXINT4, lambda t, c: (t, c | {"data_type": "nv_fp", "extra_config": MXINT4_LAYER})),
    (MXINT4, lambda t, c: (t, c | {"packing_format": "auto_round", "data_type": "mx_int"})),
]
TWO = {"a": {"format": "nvfp4-pack-quantized"}, "b": {"format": "mxfp4-pack-quantized"}}
MXINT4_LAYER = {"m": {"data_type": "mx_int4"}, "n": 3}


def test_a_bitmask_of_too_many_values_is_an_error_on_reading(tmp_path):
    for name, message in (("24-bitmask", "than a row"), ("bitmask", "than are stored")):
        tensors, config, _ = ALL[f"bitmask: bitmask sparse-{name} bfloat16"]
        (mask,) = (key for key in tensors if key.endswith("bitmask"))
        full = np.full_like(tensors[mask][0], 255), "U8"
        (weight,) = opened(tmp_path, tensors | {mask: full}, config)
        with pytest.raises(
            PackingError, match=rf"m\.weight: its bitmask has more values {message}"
        ):
            whole(weight)


@pytest.mark.parametrize(("case", "change"), READ)
def test_what_is_declared_for_some_modules_is_read(tmp_path, case, change):
    tensors, config, values = ALL[case]
    (weight,) = opened(tmp_path, *change(dict(tensors), dict(config)))
    assert weight.problem is None
    np.testing.assert_allclose(whole(weight), values, rtol=2**-7 if "nv" in case else 0, atol=0)
