"""Weights that are the same bytes."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from weightfiles import model_files, whole, write_safetensors

from mlx_probe.checkpoint import aliases as aliases_module
from mlx_probe.checkpoint import find_aliases, open_checkpoint


def aliases(path, arrays):
    weights = open_checkpoint(model_files(write_safetensors(path, arrays))).weights()
    copies = find_aliases(weights)
    return {weights[copy].label: weights[of].label for copy, of in copies.items()}


def test_equal_bytes_of_one_shape_and_type(tmp_path, rng):
    table = rng.standard_normal((300, 40), np.float32)
    late = table.copy()
    late[-1, -1] += 1  # far from the sample in the middle
    copies = aliases(
        tmp_path / "m.safetensors",
        {
            "embed_tokens.weight": table,
            "almost": late,
            "lm_head.weight": table,
            "third": table,
            "transposed": table.reshape(40, 300),
            "bits_ids": (table.view(np.uint32), "U32"),
        },
    )
    assert copies == {
        "lm_head.weight": "embed_tokens.weight",
        "third": "embed_tokens.weight",
    }


def test_a_file_is_opened_once_for_all_its_samples(tmp_path, rng, monkeypatch):
    opened, path_open = [], Path.open

    def noted(path, *arguments, **options):
        opened.append(path)
        return path_open(path, *arguments, **options)

    path = write_safetensors(
        tmp_path / "m.safetensors", {f"w{i}": rng.standard_normal((4, 4)) for i in range(50)}, "F64"
    )
    weights = open_checkpoint(model_files(path)).weights()
    monkeypatch.setattr("pathlib.Path.open", noted)
    assert find_aliases(weights) == {}
    assert opened == [path]


def test_a_problem_in_a_stack_names_its_matrix(tmp_path, rng):
    stack = rng.standard_normal((4, 8, 8), np.float32)
    stack[3] = stack[1]
    assert aliases(tmp_path / "m.safetensors", {"x.experts.up_proj": stack}) == {
        "x.experts.up_proj[3]": "x.experts.up_proj[1]"
    }


def test_scalars_and_empty_tensors_are_no_copies(tmp_path):
    arrays = {f"s{i}": np.float32(1).reshape(()) for i in range(2)}
    arrays |= {f"e{i}": np.zeros((0, 3), np.float32) for i in range(2)}
    assert aliases(tmp_path / "m.safetensors", arrays) == {}


@given(st.lists(st.integers(0, 3), max_size=12))
def test_every_copy_points_to_the_first(tmp_path_factory, kinds):
    arrays = {f"w{i}": np.full((3, 5), kind, np.float32) for i, kind in enumerate(kinds)}
    copies = aliases(tmp_path_factory.getbasetemp() / "alias.safetensors", arrays)
    first = {kind: f"w{kinds.index(kind)}" for kind in kinds}
    assert copies == {
        f"w{i}": first[kind] for i, kind in enumerate(kinds) if f"w{i}" != first[kind]
    }


def test_a_deflated_stack_is_no_row_of_copies(tmp_path, rng):
    stack = rng.standard_normal((4, 8, 8)).astype(np.float32)
    path = tmp_path / "weights.npz"
    np.savez_compressed(path, **{"a.experts.up_proj": stack, "b.experts.up_proj": stack})
    weights = open_checkpoint(model_files(path)).weights()
    copies = {weights[i].label: weights[of].label for i, of in find_aliases(weights).items()}
    assert copies == {f"b.experts.up_proj[{i}]": f"a.experts.up_proj[{i}]" for i in range(4)}
    for weight in weights:
        np.testing.assert_array_equal(whole(weight), stack[weight.expert_index])


def test_a_range_in_common_is_read_once(tmp_path, monkeypatch):
    tensor = torch.randn(300, 40)
    torch.save({"embed_tokens.weight": tensor, "lm_head.weight": tensor}, tmp_path / "m.bin")
    weights = open_checkpoint(model_files(tmp_path / "m.bin")).weights()
    assert weights[0].byte_ranges() == weights[1].byte_ranges()
    read, reads = aliases_module._read, []
    monkeypatch.setattr(aliases_module, "_read", lambda *span: reads.append(span) or read(*span))
    assert find_aliases(weights) == {1: 0}
    # After a sample of each.
    assert [stop - start for _, start, stop in reads] == [48000]
