"""Methods that are not read: no row has numbers from their pieces, and one reason names the method.

Names, types and axes are those of the packages' own layers.
"""

import pytest
from hf_packings import opened

from mlx_probe.core.dtypes import DTYPES

# By quant_method: tensors of one 64 x 64 layer called m, each with its type and shape.
METHODS = {
    "exl3": {
        "trellis": ("I16", (4, 4, 64)),
        "suh": ("F16", (64,)),
        "svh": ("F16", (64,)),
        "mcg": ("I32", ()),
    },
    "aqlm": {
        "codes": ("I8", (64, 8, 2)),
        "codebooks": ("F16", (2, 256, 1, 8)),
        "scales": ("F16", (64, 1, 1, 1)),
    },
    "vptq": {
        "indices": ("I32", (1, 64, 4)),
        "centroids.weight": ("F16", (1, 2048)),
        "res_centroids.weight": ("F16", (1, 2048)),
        "weight_scale": ("F16", (64,)),
        "weight_bias": ("F16", (64,)),
        "perm": ("U16", (64,)),
    },
    "quip": {
        "Qidxs": ("I64", (4, 64)),
        "SU": ("F16", (64,)),
        "SV": ("F16", (64,)),
        "Wscale": ("F32", ()),
        "codebook_id": ("I64", ()),
    },
    "marlin": {"B": ("I32", (4, 128)), "s": ("F16", (1, 64))},
    "gptq_marlin_24": {
        "B_24": ("I32", (2, 128)),
        "B_meta": ("I16", (64, 4)),
        "s": ("F16", (1, 64)),
    },
    "qqq": {
        "B": ("I32", (4, 128)),
        "s_channel": ("F32", (1, 64)),
        "s_group": ("F16", (1, 64)),
    },
    "spqr": {
        "dense_weights": ("I64", (128,)),
        "row_offsets": ("I32", (65,)),
        "col_vals": ("I32", (40,)),
        "in_perm": ("I16", (64,)),
    },
    "higgs": {
        "weight": ("I16", (16, 64)),
        "scales": ("F16", (64, 1)),
        "tables": ("F16", (256, 2)),
        "tables2": ("F32", (256, 256, 2)),
    },
    "eetq": {"weight": ("I8", (64, 64)), "weight_scales": ("F16", (64,))},
    "sinq": {"W_q": ("U8", (32, 64)), "scales": ("F16", (64, 1)), "zeros": ("F16", (64, 1))},
    "mxfp4_marlin": {"weight_packed": ("U8", (64, 32)), "weight_scale": ("U8", (64, 2))},
    "quark": {
        "weight": ("I32", (64, 8)),
        "weight_scale": ("F32", (64, 1)),
        "weight_zero_point": ("I32", (64, 1)),
    },
    "fp_quant": {
        "qweight": ("U8", (64, 32)),
        "scales": ("U8", (64, 2)),
        "forward_hadamard_matrix": ("BF16", (32, 32)),
        "backward_hadamard_matrix": ("BF16", (32, 32)),
        "act_global_scale": ("F32", ()),
        "weight_global_scale": ("F32", ()),
    },
    "group-quantization": {"q_weight": ("U32", (64, 8)), "q_scale": ("F16", (64, 2))},  # MLC
    "w8a8_int8": {"weight": ("I8", (64, 64)), "weight_scale": ("F32", (64, 1))},
}


def stored(rng, pieces):
    return {
        f"model.layers.0.mlp.up_proj.{name}": (
            rng.integers(1, 60, shape).astype(DTYPES[dtype].storage, "C").reshape(shape),
            dtype,
        )
        for name, (dtype, shape) in pieces.items()
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_is_not_read_is_skipped_by_name(tmp_path, rng, method):
    tensors = stored(rng, METHODS[method])
    weights = opened(tmp_path, tensors, {"quant_method": method, "bits": 4})
    problems = [weight.problem for weight in weights]
    assert any(method in (problem or "") for problem in problems), problems
    for weight in weights:
        # Vectors of scales may be plain numbers; nothing that has rows is.
        assert weight.problem or len(weight.shape) < 2, weight.name
