"""GPTQ, AWQ, compressed-tensors and bitsandbytes: what the libraries leave out.

Their own values are in ``referees/packings``. Orders, single settings and the like are made by the
published formulas.
"""

import numpy as np
import packers
import pytest
from hf_packings import GOLDEN, affine, gptq_case, named, only, opened
from weightfiles import whole

# Scales and bits of a single column.
NARROW = np.ones((4, 1), "<f2"), 4


@pytest.mark.parametrize(
    ("case", "detail"),
    [
        ("gptq gptq 3 bit", "3 bit, group 32"),
        ("awq gemm 64", "4 bit, group 64"),
        ("awq gemv 32", "4 bit, group 32, gemv"),
        ("compressed_tensors 4 bit asymmetric", "int4, group 32"),
        ("compressed_tensors 4 bit tensor", "int4, one scale"),
        ("compressed_tensors int8 channel", "int8, a scale for each row"),
        ("compressed_tensors fp8 block", "fp8, blocks of 12 x 20"),
        ("compressed_tensors nvfp4", "fp4, group 16"),
        ("bitsandbytes nf4 32x128 nested", "nf4, block 64, nested"),
        ("bitsandbytes int8", "int8, a scale for each row"),
    ],
)
def test_the_row_says_what_the_packing_does(tmp_path, case, detail):
    tensors, config, _ = GOLDEN[case]
    assert only(tmp_path, tensors, config).parameter.detail == detail


@pytest.mark.parametrize(("bits", "version"), [(b, v) for b in (2, 3, 4, 8) for v in (1, 2)])
def test_zero_points_wrap_within_their_code(tmp_path, rng, bits, version):
    """Zero is stored as all ones in version 1, and comes back as zero."""
    codes, _, scales, _ = affine(rng, 32, 64, bits, 64)
    zeros = np.tile([[0], [(1 << bits) - 1]], (16, 1))
    tensors = named(packers.gptq(codes, zeros, scales, bits, version))
    form = "gptq" if version == 1 else "gptq_v2"
    config = {"checkpoint_format": form, "quant_method": "gptq", "desc_act": False}
    weight = only(tmp_path, tensors, config)
    np.testing.assert_array_equal(whole(weight), (codes - zeros) * scales.astype(np.float32))


def test_single_modules_may_have_bits_and_groups_of_their_own(tmp_path, rng):
    tensors, _, values = gptq_case(rng, 32, 128, bits=8, group=32)
    config = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}
    (refused,) = opened(tmp_path, tensors, config)
    assert refused.problem.startswith("m.weight: config.json has 4 bits, which do not fit")
    weight = only(tmp_path, tensors, config | {"dynamic": {"+:m": {"bits": 8, "group_size": 32}}})
    np.testing.assert_array_equal(whole(weight), values)


def test_without_a_configuration_shapes_decide(tmp_path):
    """config.json may be missing: GPTQ and AWQ differ in their shapes.

    GPTQ's two versions do not: the same words are other weights.
    """
    tensors, _, values = GOLDEN["awq gemm 64"]
    np.testing.assert_array_equal(whole(only(tmp_path, tensors, {})), values)
    for case in ("gptq gptq 4 bit", "gptq gptq_v2 4 bit"):
        tensors, _, values = GOLDEN[case]
        (refused,) = opened(tmp_path, tensors, {})
        assert refused.parameter.packing == "gptq"
        assert "zero points may be stored minus one" in refused.problem
    named = {"quant_method": "gptq", "checkpoint_format": "gptq_v2"}
    np.testing.assert_array_equal(whole(only(tmp_path, tensors, named)), values)


def test_modules_find_their_own_scheme_by_shape(tmp_path):
    """A narrow matrix fits several widths, and blocks several sizes: a scheme has to name one."""
    tensors, config, values = GOLDEN["compressed_tensors fp8 block"]
    others = {"weights": {"num_bits": 4, "block_structure": "64x64"}}
    mine = {"weights": {"num_bits": 16, "block_structure": "12x20"}}
    config = config | {"config_groups": {"a": others, "b": mine}}
    np.testing.assert_array_equal(whole(only(tmp_path, tensors, config)), values)
    narrow = named(packers.compressed(np.arange(4)[:, None], np.zeros((4, 1), int), *NARROW))
    config = config | {"format": "pack-quantized"}
    np.testing.assert_array_equal(whole(only(tmp_path, narrow, config))[:, 0], np.arange(4))
    (refused,) = opened(tmp_path, narrow, {"quant_method": "compressed-tensors"})
    assert "do not show the bits" in refused.problem


def test_columns_of_compressed_tensors_may_have_an_order(tmp_path, rng):
    codes, zeros, scales, plain = affine(rng, 64, 128, 4, 32)
    tensors = named(packers.compressed(codes, zeros, scales, 4))
    config = {"quant_method": "compressed-tensors"}
    order = rng.permutation(np.arange(128) // 32).astype("<i4")
    ordered = (codes - zeros[:, order]) * scales.astype(np.float32)[:, order]
    # An order that was never set is full of -1.
    for numbers, values in ((order, ordered), (np.full(128, -1, "<i4"), plain)):
        tensors["m.weight_g_idx"] = numbers, "I32"
        np.testing.assert_array_equal(whole(only(tmp_path, tensors, config)), values)
