"""Which weights come first, and which come together."""

from dataclasses import replace

import numpy as np
import pytest
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.order import work_order
from mlx_probe.analysis.plan import make_plan
from mlx_probe.compute.backends.numpy.backend import NumpyBackend

SHAPES = {
    "layers.0.norm.weight": (64,),
    "layers.0.mlp.experts.up_proj": (7, 32, 16),
    "layers.0.q_proj.weight": (200, 200),
    "layers.0.mlp.experts.down_proj": (3, 16, 32),
    "embed.weight": (5000, 40),
    "layers.1.q_proj.weight": (100, 200),
}


class Batching(NumpyBackend):
    """numpy that takes up to four small matrices at once."""

    def batch_size(self, rows, cols):
        return 4 if min(rows, cols) <= 32 else 1


@pytest.fixture
def plan(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    path = write_safetensors(tmp_path / "model.safetensors", arrays)
    with mlx_probe.open_checkpoint(path) as checkpoint:
        return make_plan(checkpoint, AnalyzeConfig(backend="numpy", workers=2))


def names(plan, task):
    return {plan.weights[i].name for batch in task for i in batch}


def batches(plan, finished=()):
    return [batch for task, _ in work_order(plan, finished) for batch in task]


def test_the_longest_come_first_and_each_once(plan):
    tasks = [task for task, _ in work_order(plan, ())]
    assert sorted(i for batch in batches(plan) for i in batch) == list(range(len(plan.weights)))
    assert [names(plan, task) for task in tasks[:3]] == [
        {"layers.0.q_proj.weight"},
        {"embed.weight"},
        {"layers.1.q_proj.weight"},
    ]
    assert "layers.0.norm.weight" in names(plan, tasks[-1])


def test_finished_weights_and_copies_are_left_out(plan):
    plan = replace(plan, aliases={4: 3})
    left = {i for batch in batches(plan, {0, 1}) for i in batch}
    assert left == set(range(len(plan.weights))) - {0, 1, 4}


def test_equal_small_matrices_come_in_batches(plan):
    plan = replace(plan, backend=Batching())
    sizes = sorted(map(len, batches(plan)))
    # Seven and three experts, of two shapes; the other four alone.
    assert sizes == [1, 1, 1, 1, 3, 3, 4]
    for task, size in work_order(plan, ()):
        (batch,) = task
        assert len({plan.weights[i].shape for i in batch}) == 1
        assert size == sum(plan.sizes[i] for i in batch)


def test_tiny_weights_are_one_task(tmp_path):
    arrays = {f"layers.{i}.norm.weight": np.full(16, i, np.float32) for i in range(150)}
    arrays["embed.weight"] = np.ones((300, 200), np.float32)
    path = write_safetensors(tmp_path / "model.safetensors", arrays)
    with mlx_probe.open_checkpoint(path) as checkpoint:
        plan = make_plan(checkpoint, AnalyzeConfig(backend="numpy", workers=2))
    tasks = work_order(plan, ())
    # One after the other: a task takes the memory of its largest weight.
    assert [len(task) for task, _ in tasks] == [1, 64, 64, 22]
    assert [size for _, size in tasks[1:]] == [plan.sizes[1]] * 3
    assert names(plan, tasks[0][0]) == {"embed.weight"}


def test_batches_leave_every_worker_its_share_of_memory(plan):
    expert = next(i for i, w in enumerate(plan.weights) if w.stack_index == 0)
    plan = replace(plan, backend=Batching(), budget=5 * plan.sizes[expert])
    assert max(map(len, batches(plan))) == 2


@pytest.mark.parametrize("metrics", ["basic", "standard", "full"])
def test_batches_change_no_value(model, tmp_path, monkeypatch, metrics):
    def table(name):
        config = AnalyzeConfig(backend="numpy", metrics=metrics)
        frame = mlx_probe.analyze(model, out=tmp_path / name, config=config).load()
        timed = ["created_at", "read_seconds", "compute_seconds", "read_gbps"]
        return frame.drop(columns=timed)

    alone = table("alone")
    taken = []

    original = NumpyBackend.gram_batch

    def gram_batch(self, chunks, *matrix):
        taken.append(len(chunks))
        return original(self, chunks, *matrix)

    monkeypatch.setattr(NumpyBackend, "batch_size", Batching.batch_size)
    monkeypatch.setattr(NumpyBackend, "gram_batch", gram_batch)
    batched = table("batched")
    assert max(taken) > 1
    assert alone.equals(batched)
