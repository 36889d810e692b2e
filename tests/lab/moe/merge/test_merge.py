"""Near-duplicate experts become their mean, and all others stay as they are."""

import json

import mlx.core as mx
import numpy as np
import pytest
from reducible import in_transformers, logits_of, write_family
from safetensors.numpy import load_file, save_file

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.moe.graft import GraftConfig, graft_model
from mlx_probe.lab.moe.merge import MergeConfig, merge_experts
from mlx_probe.lab.moe.merge.groups import grouped

EXPERTS = 6
MATRICES = ("gate_proj", "up_proj", "down_proj")


@pytest.fixture(autouse=True)
def on_cpu():
    with mx.stream(mx.cpu):
        yield


def near(rng, weights, layer, one, other, noise):
    """Make an expert a copy of another one, with units in another order, that learned a little."""
    prefix = f"model.layers.{layer}.mlp.experts"
    order = rng.permutation(weights[f"{prefix}.0.gate_proj.weight"].shape[0])
    for name in MATRICES:
        matrix = weights[f"{prefix}.{one}.{name}.weight"]
        copy = matrix[:, order] if name == "down_proj" else matrix[order]
        noisy = copy + noise * copy.std() * rng.standard_normal(copy.shape)
        weights[f"{prefix}.{other}.{name}.weight"] = noisy.astype(matrix.dtype)
    return order


@pytest.fixture(scope="module")
def planted(dense, tmp_path_factory):
    """A qwen3_moe: 0 and 3, 1 and 5 are near-duplicates in layer 0, 2 and 4 in layer 1."""
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("planted") / "model"
    with mx.stream(mx.cpu):
        config = GraftConfig(form="drop", experts=EXPERTS, share=1.0, run=False)
        graft_model(str(dense.qwen3), folder, config)
    weights = load_file(folder / "model.safetensors")
    orders = {
        (0, 0, 3): near(rng, weights, 0, 0, 3, 0.1),
        (0, 1, 5): near(rng, weights, 0, 1, 5, 0.02),
        (1, 2, 4): near(rng, weights, 1, 2, 4, 0.1),
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder, weights, orders


def merged(model, out, **settings):
    return merge_experts(str(model), out, MergeConfig(**{"run": False, **settings}))


def test_the_layer_with_the_fewest_decides_and_means_are_of_matched_units(planted, dense, tmp_path):
    folder, before, orders = planted
    made = merged(folder, tmp_path / "out", run=True, data=dense.text, tokens=48)
    assert made.experts == 5
    groups = [each["experts"] for each in made.chosen["merged"]]
    # Of the two pairs of layer 0 the more alike one.
    assert groups == [[[0], [1, 5], [2], [3], [4]], [[0], [1], [2, 4], [3], [5]]]
    after = load_file(made.folder / "model.safetensors")
    for layer, of_layer in enumerate(groups):
        prefix = f"model.layers.{layer}.mlp"
        router = before[f"{prefix}.gate.weight"]
        for new, group in enumerate(of_layer):
            row = after[f"{prefix}.gate.weight"][new]
            for name in MATRICES:
                found = after[f"{prefix}.experts.{new}.{name}.weight"]
                old = [before[f"{prefix}.experts.{each}.{name}.weight"] for each in group]
                if len(group) == 1:
                    assert found.tobytes() == old[0].tobytes()
                    assert row.tobytes() == router[group[0]].tobytes()
                    continue
                back = np.argsort(orders[(layer, *group)])
                other = old[1][:, back] if name == "down_proj" else old[1][back]
                mean = (old[0].astype("f8") + other.astype("f8")) / 2
                assert np.abs(found - mean).max() < 1e-6 * np.abs(mean).max()
                assert row == pytest.approx(router[group].mean(axis=0), rel=1e-6)
    for name, array in after.items():
        if ".mlp." not in name:
            assert array.tobytes() == before[name].tobytes()
    assert json.loads((made.folder / "config.json").read_text())["num_experts"] == 5
    assert np.abs(logits_of(made.folder) - in_transformers(made.folder)).max() < 1e-4
    losses = made.measured
    assert losses.loss_before != losses.loss_after
    receipt = json.loads((made.folder / "merge_receipt.json").read_text())
    assert (receipt["loss_before"], receipt["loss_after"]) == (
        losses.loss_before,
        losses.loss_after,
    )
    [cosine] = [value for value in receipt["merged"][1]["cosines"] if value is not None]
    assert 0.98 < cosine < 1


def test_layers_are_counted_while_they_are_compared_and_written(planted, tmp_path):
    seen = []
    merge_experts(
        str(planted[0]),
        tmp_path / "out",
        MergeConfig(run=False),
        lambda done, total: seen.append((done, total)),
    )
    assert seen[:2] == [(1, 4), (2, 4)]
    assert seen[-1] == (4, 4)
    assert seen == sorted(seen)


def test_experts_in_one_stack_are_merged_too(tmp_path):
    """Granite's gate and up projection are one matrix; its copies say the same as one."""
    model = write_family(tmp_path / "model", "granitemoe", num_hidden_layers=1)
    path = model / "model.safetensors"
    weights = {
        name.removeprefix("model."): np.array(array) for name, array in mx.load(str(path)).items()
    }
    prefix = "layers.0.block_sparse_moe"
    parts = [weights.pop(f"{prefix}.switch_mlp.{name}_proj.weight") for name in ("gate", "up")]
    down = weights.pop(f"{prefix}.switch_mlp.down_proj.weight")
    order = np.random.default_rng(0).permutation(down.shape[2])
    for part in parts:
        part[6] = part[1][order]
    down[6] = down[1][:, order]
    router = weights[f"{prefix}.router.layer.weight"]
    router[6] = router[1]
    weights[f"{prefix}.input_linear.weight"] = np.concatenate(parts, axis=1)
    weights[f"{prefix}.output_linear.weight"] = down
    save_file({f"model.{name}": array for name, array in weights.items()}, path)
    made = merged(model, tmp_path / "out", threshold=0.999)
    assert made.experts == 7
    assert made.chosen["merged"][0]["experts"][1] == [1, 6]
    after = load_file(made.folder / "model.safetensors")
    kept = [0, 1, 2, 3, 4, 5, 7]
    for name in ("input_linear", "output_linear", "router.layer"):
        found = after[f"model.{prefix}.{name}.weight"]
        assert found == pytest.approx(weights[f"{prefix}.{name}.weight"][kept], abs=1e-7)


def test_groups_are_of_experts_that_are_all_alike():
    pairs = {(0, 1): 0.99, (1, 2): 0.98, (3, 4): 0.97, (2, 5): 0.96}
    # 0 and 2 are not alike.
    assert grouped(pairs, 6) == [[0, 1], [2, 5], [3, 4]]
    assert grouped({**pairs, (0, 2): 0.96}, 6) == [[0, 1, 2], [3, 4], [5]]
    assert grouped(pairs, 6, 5) == [[0, 1], [2], [3], [4], [5]]
    assert grouped({}, 3) == [[0], [1], [2]]


class TestRefused:
    def refused(self, model, out, match, **settings):
        with pytest.raises(ConfigError, match=match) as refused:
            merged(model, out, **settings)
        assert not out.exists()
        return refused.value.remedy

    def test_a_layer_without_near_duplicates(self, tmp_path):
        model = write_family(tmp_path / "model", "qwen3_moe")
        remedy = self.refused(model, tmp_path / "out", "layer 0 has no two experts with a cosine")
        assert "moe prune" in remedy

    def test_a_number_that_the_threshold_does_not_reach(self, planted, tmp_path):
        match = "layer 1 has 5 experts after all with a cosine of 0.95 are one, not 4"
        assert "--keep 5" in self.refused(planted[0], tmp_path / "out", match, keep=4)
        self.refused(planted[0], tmp_path / "out", "takes none of the 6", keep=6)

    def test_packed_experts(self, tmp_path):
        model = write_family(tmp_path / "model", "qwen3_moe", bits=4, moe_intermediate_size=32)
        remedy = self.refused(model, tmp_path / "out", "stored as U32: packed experts have no mean")
        assert "--dequantize" in remedy

    def test_experts_with_biases(self, tmp_path):
        model = write_family(tmp_path / "model", "gpt_oss")
        self.refused(model, tmp_path / "out", "experts with biases are not matched")

    def test_groups(self, tmp_path):
        model = write_family(tmp_path / "model", "deepseek_v3")
        self.refused(model, tmp_path / "out", "chooses 2 of 4 groups of experts")

    def test_memory_that_holds_no_expert(self, planted, tmp_path):
        match = "experts of layer 0 cannot be matched: a memory budget of"
        self.refused(planted[0], tmp_path / "out", match, memory_limit=1 << 20)

    def test_a_dense_model(self, dense, tmp_path):
        self.refused(dense.llama, tmp_path / "out", "is a dense model: llama")
