import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import CheckpointError, SourceError
from mlx_probe.source.selection import Selection, config_name, select_files

INDEX = "model.safetensors.index.json"
BIN_INDEX = "pytorch_model.bin.index.json"
DIFFUSION = "diffusion_pytorch_model.safetensors"
PARTS = ("m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["model.safetensors", "config.json", "x.bin"],
            (("model.safetensors",), None, "config.json"),
        ),
        ([INDEX, *PARTS], ((), INDEX, None)),
        # A whole-model file beside an index is another copy of the same weights.
        ([INDEX, *PARTS, "model.safetensors", "consolidated.safetensors"], ((), INDEX, None)),
        (["x.safetensors.index.json", "x-1.safetensors"], ((), "x.safetensors.index.json", None)),
        ([INDEX, "model.fp16.safetensors.index.json"], ((), INDEX, None)),
        (["model.safetensors", "model.fp16.safetensors"], (("model.safetensors",), None, None)),
        (["odd.safetensors", "m.gguf"], (("odd.safetensors",), None, None)),
        (["ODD.SAFETENSORS", "m.gguf"], (("ODD.SAFETENSORS",), None, None)),
        # A component of diffusers, in several precisions.
        (
            ["diffusion_pytorch_model.fp16.safetensors", DIFFUSION, "config.json"],
            ((DIFFUSION,), None, "config.json"),
        ),
        (
            [f"{DIFFUSION}.index.json", f"{DIFFUSION}.index.fp16.json", *PARTS],
            ((), f"{DIFFUSION}.index.json", None),
        ),
        (
            ["diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.bin"],
            (("diffusion_pytorch_model.bin",), None, None),
        ),
        ([*PARTS[::-1], "config.json"], (PARTS, None, "config.json")),
        (
            ["weights.01.safetensors", "weights.00.safetensors"],
            (("weights.00.safetensors", "weights.01.safetensors"), None, None),
        ),
        (["m.gguf", "config.json"], (("m.gguf",), None, "config.json")),
        (
            ["q-00001-of-00002.gguf", "q-00002-of-00002.gguf"],
            (("q-00001-of-00002.gguf", "q-00002-of-00002.gguf"), None, None),
        ),
        # The top level has weights: what lies deeper are other editions.
        (["model.safetensors", "onnx/m.gguf"], (("model.safetensors",), None, None)),
        (["m.gguf", f"original/{INDEX}"], (("m.gguf",), None, None)),
        # PyTorch's and NPZ files, where there is nothing better.
        (["pytorch_model.bin", "model.safetensors"], (("model.safetensors",), None, None)),
        (
            [BIN_INDEX, "pytorch_model-1.bin", "model.safetensors"],
            (("model.safetensors",), None, None),
        ),
        ([BIN_INDEX, INDEX, *PARTS, "pytorch_model-1.bin"], ((), INDEX, None)),
        ([BIN_INDEX, "pytorch_model-1.bin", "config.json"], ((), BIN_INDEX, "config.json")),
        (["pytorch_model.bin", "m.bin", "m.pt"], (("pytorch_model.bin",), None, None)),
        (["pytorch_model.bin", "m.gguf"], (("m.gguf",), None, None)),
        (["consolidated.00.pth", "params.json"], (("consolidated.00.pth",), None, None)),
        (["base.pt", "base.pth", "base.npz"], (("base.pt",), None, None)),
        (["weights.npz", "other.npz"], (("weights.npz",), None, None)),
        (
            ["weights.00.npz", "weights.01.npz", "config.json"],
            (("weights.00.npz", "weights.01.npz"), None, "config.json"),
        ),
        (
            ["training_args.bin", "optimizer.pt", "rng_state_0.pth", "x.pt", "out/m.bin"],
            (("x.pt",), None, None),
        ),
        (["optimizer.bin", "scheduler.pt", "out/m.bin"], (("out/m.bin",), None, None)),
        # Adapters, with the configuration that is theirs.
        (
            [
                "adapter_model.safetensors",
                "adapter_config.json",
                "config.json",
                "training_args.bin",
            ],
            (("adapter_model.safetensors",), None, "adapter_config.json"),
        ),
        (
            ["adapters.safetensors", "0000100_adapters.safetensors", "adapter_config.json"],
            (("adapters.safetensors",), None, "adapter_config.json"),
        ),
        (["0000100_adapters.safetensors"], (("0000100_adapters.safetensors",), None, None)),
        (
            ["adapter_model.bin", "adapter_model.safetensors"],
            (("adapter_model.safetensors",), None, None),
        ),
        (
            ["adapter_model.safetensors", "adapter_config.json", "m.bin", "config.json"],
            (("m.bin",), None, "config.json"),
        ),
        (
            ["pkg/data/m.gguf", "pkg/data/config.json", "pkg/data/old/m.gguf", "config.json"],
            (("pkg/data/m.gguf",), None, "pkg/data/config.json"),
        ),
    ],
)
def test_rule(names, expected):
    assert select_files(dict.fromkeys(names, 1), "M") == Selection(*expected)


@pytest.mark.parametrize(
    "names",
    [
        ["a.gguf", "b.gguf"],
        ["m-Q4.gguf", "m-Q8.gguf"],
        ["m.fp16.safetensors", "m.fp32.safetensors"],
        ["a.safetensors", "b.safetensors"],
        ["w.00.safetensors", "w.02.safetensors"],
        ["llama-7.gguf", "llama-13.gguf"],
        [*PARTS, "n-00001-of-00002.safetensors"],
        ["unet/x.safetensors", "vae/x.safetensors"],
        ["a.safetensors.index.json", "b.safetensors.index.json"],
        ["0000100_adapters.safetensors", "0000200_adapters.safetensors"],
        ["a.pt", "b.pt"],
        ["x/adapters.safetensors", "y/adapters.safetensors"],
    ],
)
def test_asks_when_it_is_not_clear(names):
    with pytest.raises(SourceError) as e:
        select_files(dict.fromkeys(names, 2_000_000), "M")
    assert all(f"{name} (2.0 MB)" in e.value.fact for name in names)
    assert "MODEL:FILE" in e.value.remedy


def test_lists_no_more_than_a_dozen():
    with pytest.raises(SourceError, match="and 28 more"):
        select_files({f"m-q{n}.gguf": 1 for n in range(40)}, "M")


@pytest.mark.parametrize(
    ("file", "weights"),
    [
        ("b.gguf", ("b.gguf",)),
        ("*[ab].gguf", None),
        ("sub/c.gguf", ("sub/c.gguf",)),
        ("c.gguf", ("sub/c.gguf",)),
        ("d[1].gguf", ("d[1].gguf",)),
        ("p-*.gguf", ("p-1.gguf", "p-2.gguf")),
        (PARTS[1], PARTS),
        ("optimizer.pt", ("optimizer.pt",)),
        ("adapters.safetensors", ("adapters.safetensors",)),
        ("0000100_adapters.safetensors", ("0000100_adapters.safetensors",)),
    ],
)
def test_picked_file(file, weights):
    names = ["a.gguf", "b.gguf", "sub/c.gguf", "d[1].gguf", "p-1.gguf", "p-2.gguf", INDEX, *PARTS]
    names += ["optimizer.pt", "adapters.safetensors", "0000100_adapters.safetensors"]
    listing = dict.fromkeys([*names, "config.json"], 1)
    if weights is None:
        with pytest.raises(SourceError, match=r"a\.gguf .*, b\.gguf"):
            select_files(listing, "M", file)
    else:
        assert select_files(listing, "M", file).weights == weights


@pytest.mark.parametrize(
    ("names", "file"),
    [
        ([], None),
        (["x.onnx", "bin", "model.bin.md"], None),
        (["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_1.pth"], None),
        (["tokenizer.bin", "a/scaler.pt", "openvino_model.bin"], None),
        (["optimizer.pt", "m.pt"], "opt*"),
        (["x.gguf"], "y.gguf"),
    ],
)
def test_no_weights(names, file):
    with pytest.raises(SourceError, match="M has no weights"):
        select_files(dict.fromkeys(names, 1), "M", file)


@pytest.mark.parametrize(
    ("weights", "config"),
    [
        ("m.bin", "config.json"),
        ("adapters.safetensors", "adapter_config.json"),
        ("0000100_adapters.safetensors", "adapter_config.json"),
        ("sub/m.bin", None),
    ],
)
def test_configuration_of_a_file(weights, config):
    assert config_name(weights, {"config.json", "adapter_config.json"}) == config


def test_a_name_goes_before_a_glob():
    listing = dict.fromkeys(["m[1].gguf", "m1.gguf"], 1)
    assert select_files(listing, "M", "m[1].gguf").weights == ("m[1].gguf",)
    del listing["m[1].gguf"]
    assert select_files(listing, "M", "m[1].gguf").weights == ("m1.gguf",)


@settings(deadline=None)
@given(
    st.lists(
        st.from_regex(r"([ab]/)?m[-.]?[0-2]?(\.fp16)?\.(safetensors|gguf|bin|npz)", fullmatch=True)
    )
)
def test_selects_from_the_listing_or_asks(names):
    listing = dict.fromkeys(names, 1)
    try:
        selection = select_files(listing, "M")
    except SourceError:
        return
    assert selection.weights
    assert set(selection.weights) <= set(listing)
    assert len({name.rsplit(".", 1)[1] for name in selection.weights}) == 1


def test_shards_are_those_of_the_index(tmp_path):
    (tmp_path / "sub").mkdir()
    index = tmp_path / "sub" / INDEX
    index.write_text(json.dumps({"weight_map": {"a": "y", "b": "x", "c": "y"}}))
    files = Selection((), f"sub/{INDEX}").resolve(tmp_path, "id", "rev", tmp_path)
    assert files.weights == (tmp_path / "sub/x", tmp_path / "sub/y")
    index.write_text(json.dumps({"weight_map": {"a": "../y"}}))
    with pytest.raises(CheckpointError):
        Selection((), f"sub/{INDEX}").resolve(tmp_path, "id", "rev", tmp_path)
