"""The guard stops nothing that an architecture has by itself: names of hundreds of models.

The lists are those of the naming tests (`make_names`): the parameters and buffers of every model
that transformers and mlx-lm can build, and GGUF's.
"""

import math
from collections import defaultdict
from pathlib import Path

import pytest

from mlx_probe.checkpoint.gather import gather_parameters
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.records import TensorInfo

LISTS = Path(__file__).parents[2] / "data" / "names" / "generated"
# I-BERT keeps integers for its arithmetic beside weights that nobody packs a second time; MiMo
# Audio's convolutions have a part that does not learn; norms are vectors.
ODD = ("norm.", "ibert.", ".k_sconv.", ".v_sconv.", "bitnet")


def models(file):
    """The names of each model in a list."""
    names = defaultdict(list)
    model = ""
    for line in (LISTS / file).read_text().splitlines():
        if line.startswith("#"):
            model = line
        elif line:
            names[model].append(
                line.split("\t")[0].replace("<layer>", "0").replace("<expert>", "0")
            )
    return names.values()


def tensor(name, dtype, *shape):
    stop = math.prod(shape) * DTYPES[dtype].itemsize
    return TensorInfo(name, dtype, shape, Path("model.safetensors"), 0, stop)


def gathered(tensors, config):
    return gather_parameters(tensors, config, lambda info: b"", {})


@pytest.mark.parametrize("file", sorted(path.name for path in LISTS.iterdir()))
def test_floats_of_every_model_are_read(file):
    for names in models(file):
        parameters = gathered([tensor(name, "F32", 64, 64) for name in names], {})
        lost = [p.name for p in parameters if p.problem and not p.incidental]
        assert lost == []
        skipped = [p.name for p in parameters if p.problem]
        assert all("scal" in name or "quant" in name or "ibert" in name for name in skipped)


def mlx(name):
    base = name.removesuffix("weight")
    scales = (tensor(f"{base}{end}", "F16", 64, 1) for end in ("scales", "biases"))
    return [tensor(name, "U32", 64, 8), *scales]


def float8(name):
    return [tensor(name, "F8_E4M3", 64, 64), tensor(f"{name}_scale_inv", "F32", 1, 1)]


@pytest.mark.parametrize(
    ("pack", "config"),
    [
        (mlx, {"quantization": {"bits": 4, "group_size": 64}}),
        (float8, {"quantization_config": {"quant_method": "fp8"}}),
    ],
)
@pytest.mark.parametrize("file", sorted(path.name for path in LISTS.iterdir()))
def test_every_weight_of_every_model_may_be_packed(file, pack, config):
    for names in models(file):
        tensors = []
        for name in names:
            packed = name.endswith(".weight") and not any(odd in name.lower() for odd in ODD)
            tensors += pack(name) if packed else [tensor(name, "F32", 64)]
        lost = [
            p.problem
            for p in gathered(tensors, config)
            if p.name.endswith(".weight") and p.problem and not p.incidental
        ]
        assert lost == []
