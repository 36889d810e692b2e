"""Any file is either understood or refused with a `CheckpointError`, and soon."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weightfiles import edited, entry, model_files, safetensors_bytes, write_gguf

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import CheckpointError

pytestmark = pytest.mark.slow

EDITS = st.lists(
    st.tuples(
        st.integers(0, 1 << 12),
        st.sampled_from([b"\xff" * 8, bytes(8), b"\x01", b"[{[{[{", b"9" * 8, b'"', b"-"])
        | st.binary(min_size=1, max_size=9),
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    header = {
        "__metadata__": {"format": "pt"},
        "a": entry("F32", [4, 8], 0, 128),
        "b": entry("BF16", [2, 3, 4], 128, 176),
        "c": entry("F8_E4M3", [], 176, 177),
        "d": entry("F4", [6], 177, 180),
    }
    tensors = {
        "a": (np.ones((2, 3, 8), np.float32), "F32"),
        "b": (np.ones((4, 20), np.uint8), "Q4_1"),
        "c": (np.ones((2, 34), np.uint8), "Q8_0"),
    }
    gguf = write_gguf(folder / "original.gguf", tensors)
    return {
        ".safetensors": (folder, safetensors_bytes(header, bytes(180))),
        ".gguf": (folder, gguf.read_bytes()),
    }


@pytest.mark.parametrize("suffix", [".safetensors", ".gguf"])
@settings(max_examples=400, deadline=1000)
@given(edits=EDITS, cut=st.none() | st.integers(0, 1 << 12))
def test_damaged_files_are_understood_or_refused(originals, suffix, edits, cut):
    folder, original = originals[suffix]
    content = edited(original, edits, cut)
    path = folder / f"fuzzed{suffix}"
    path.write_bytes(content)
    try:
        with open_checkpoint(model_files(path)) as checkpoint:
            for weight in checkpoint.weights():
                count = sum(chunk.size for chunk in weight.chunks())
                readable = weight.shape and not weight.problem
                assert count == (weight.numel if readable else 0)
    except CheckpointError as error:
        assert str(path) in error.fact  # noqa: PT017 - a valid file is as good


@pytest.mark.parametrize("suffix", [".safetensors", ".gguf"])
@settings(max_examples=100)
@given(content=st.binary(max_size=200))
def test_noise_is_refused(originals, suffix, content):
    path = originals[suffix][0] / f"noise{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        open_checkpoint(model_files(path))
