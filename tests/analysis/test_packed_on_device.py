"""Rows of packed weights are the same whoever decodes the words: the device, or the host."""

import gc
import json

import mlx.core as mx
import numpy as np
import pytest
from encoded_cases import CASES, GGML, encoded
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.measure import Measurer
from mlx_probe.analysis.order import work_order
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.compute.backends.mlx import decoding
from mlx_probe.compute.backends.mlx.backend import MlxBackend
from mlx_probe.metrics import compute_metrics
from mlx_probe.runs.monitor import UsageMeter


def planned(checkpoint, **config):
    return make_plan(checkpoint, AnalyzeConfig(backend="mlx", device="cpu", **config))


def measured(plan, weights):
    """Metrics and singular values of weights, measured together."""
    with UsageMeter(STAGES, plan.backend.device_memory) as meter:
        outcomes = Measurer(plan, meter).measure(weights)
    assert [outcome.status for outcome in outcomes] == ["ok"] * len(weights)
    return [
        (compute_metrics(outcome.measurement, plan.config.metrics), outcome.sigma)
        for outcome in outcomes
    ]


def same_rows(actual, expected):
    for (row, sigma), (other, reference) in zip(actual, expected, strict=True):
        assert row == other
        np.testing.assert_array_equal(sigma, reference)


def on_the_host(monkeypatch):
    monkeypatch.setattr(MlxBackend, "decodes", lambda backend, encoding: False)


@pytest.mark.parametrize("case", [*GGML, *CASES])
def test_rows_are_those_of_words_that_the_host_unpacks(tmp_path, rng, case, monkeypatch):
    plan = planned(encoded(tmp_path, rng, case, 96, 256, tame=True), metrics="full")
    seen = []
    original = decoding.decode_block
    monkeypatch.setattr(
        decoding, "decode_block", lambda block, flushes: seen.append(1) or original(block, flushes)
    )
    device = measured(plan, plan.weights)
    assert seen == [1]
    on_the_host(monkeypatch)
    same_rows(device, measured(plan, plan.weights))
    assert seen == [1]


@pytest.mark.parametrize("case", ["Q4_K", "mlx 4", "fp8 blocks"])
def test_equal_packed_matrices_come_in_batches_with_the_same_rows(tmp_path, rng, case):
    plan = planned(encoded(tmp_path, rng, case, 64, 256, tame=True, count=5))
    ((batches, _),) = work_order(plan, ())
    (batch,) = batches
    assert sorted(batch) == list(range(5))
    alone = [row for weight in plan.weights for row in measured(plan, [weight])]
    same_rows(measured(plan, plan.weights), alone)


@pytest.mark.parametrize("case", [*GGML, *CASES])
def test_decoding_takes_less_memory_than_any_pass(tmp_path, rng, case):
    """Plans reckon with the Gram matrix, which takes most: 40 bytes for each of six digits."""
    plan = planned(encoded(tmp_path, rng, case, 1024, 512))
    (block,) = plan.weights[0].encoded_chunks()
    gc.collect()
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    chunk = plan.backend.load_encoded(block)
    mx.eval(chunk.values)
    assert mx.get_peak_memory() - before < 24 * block.size
    # Nothing but the elements is kept.
    assert mx.get_active_memory() - before <= 4 * block.size + 4096


@pytest.mark.parametrize("metrics", ["basic", "full"])
def test_a_packed_weight_takes_no_more_memory_than_planned(tmp_path, rng, metrics):
    plan = planned(encoded(tmp_path, rng, "gptq ordered 3", 2048, 512, tame=True), metrics=metrics)
    gc.collect()
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    measured(plan, plan.weights)
    assert mx.get_peak_memory() - before < plan.sizes[0]


def shortened(tensors, end):
    (name,) = (name for name in tensors if name.endswith(end))
    tensors[name] = tensors[name][0][:-1], tensors[name][1]


def retyped(tensors, end):
    (name,) = (name for name in tensors if name.endswith(end))
    tensors[name] = np.zeros(tensors[name][0].shape, "<i8"), "I64"


def misordered(tensors, end):
    tensors["m.g_idx"][0][-1] = -1


@pytest.mark.parametrize(
    ("case", "damage", "end", "reason"),
    [
        ("mlx 4", shortened, "m.scales", "m.scales has the shape [95, 4] instead of [96, 4]"),
        ("mlx 4", retyped, "m.biases", "m.biases is I64 instead of F16 or BF16 or F32"),
        ("fp8 blocks", shortened, "weight_scale", "m.weight_scale has the shape [0, 2]"),
        ("fp8 rows", retyped, "weight_scale", "m.weight_scale is I64, no type for scales"),
        ("gptq 4", shortened, "qzeros", "m.qzeros has the shape [7, 12] instead of [8, 12]"),
        ("gpt-oss", shortened, "scales", "m.weight_scales has the shape [95, 8]"),
        ("nf4", shortened, "absmax", "m.weight.absmax has the shape [383] instead of [384]"),
        ("gptq ordered", misordered, "g_idx", "m.weight: g_idx names group -1 of 8"),
    ],
)
def test_damaged_pieces_have_one_reason_whoever_decodes(tmp_path, rng, case, damage, end, reason):
    make, options = CASES[case]
    tensors, settings = make(rng, 96, 256, **options)
    damage(tensors, end)
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": settings}))
    write_safetensors(tmp_path / "model.safetensors", tensors)
    seen = []
    for backend in BACKENDS:
        config = AnalyzeConfig(backend=backend, device="cpu")
        run = mlx_probe.analyze(tmp_path, out=tmp_path / backend, config=config)
        ((_, row),) = run.load().iterrows()
        seen.append((row["status"], row["status_reason"]))
    assert seen == [("skipped", seen[0][1])] * len(BACKENDS)
    assert reason in seen[0][1]
