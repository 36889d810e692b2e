"""What a model counts, against sums written out and against MLX's own count of memory."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx.utils import tree_flatten

from mlx_probe.lab.device import compiles, use_device
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.count import (
    COPIES_OF_EXPONENTIAL,
    matrix_parameters,
    parameters,
    training_flops_per_token,
    training_memory,
)
from mlx_probe.lab.model.cross_entropy import cross_entropy
from mlx_probe.lab.model.exponential import fused, has_slow_exponential
from mlx_probe.lab.model.mini_llm import MiniLLM

shapes = st.builds(
    lambda width, layers, kv, group, hidden, vocabulary, tied, qk_norm: ModelConfig(
        dim=2 * width * kv * group,
        layers=layers,
        heads=kv * group,
        kv_heads=kv,
        hidden=hidden,
        vocabulary=vocabulary,
        tied_embeddings=tied,
        qk_norm=qk_norm,
    ),
    *(st.integers(1, high) for high in (4, 3, 2, 3, 30, 50)),
    st.booleans(),
    st.booleans(),
)


@pytest.fixture(autouse=True, scope="module")
def cpu():
    use_device("cpu")


@settings(max_examples=25, deadline=None)
@given(shapes)
def test_parameters_are_those_of_the_model(config):
    model = MiniLLM(config)
    assert parameters(config) == sum(each.size for _, each in tree_flatten(model.parameters()))


def test_a_known_model():
    # Published as 134,515,008 (SmolLM2-135M).
    smol = ModelConfig(
        dim=576, layers=30, heads=9, kv_heads=3, hidden=1536, vocabulary=49152, context=2048
    )
    assert parameters(smol) == 134_515_008
    blocks = 30 * (2 * 576 * 576 + 2 * 192 * 576 + 3 * 576 * 1536)
    assert matrix_parameters(smol) == blocks + 49152 * 576
    flops = 6 * (blocks + 49152 * 576) + 12 * 30 * 576 * 2048
    assert training_flops_per_token(smol) == flops
    assert training_flops_per_token(smol, context=1) == flops - 12 * 30 * 576 * 2047


def test_an_untied_head_multiplies_no_more():
    tied, untied = (ModelConfig(tied_embeddings=each) for each in (True, False))
    assert parameters(untied) - parameters(tied) == 1024 * 128
    assert training_flops_per_token(untied) == training_flops_per_token(tied)


def test_memory_of_optimizers_and_types():
    config = ModelConfig()
    n = parameters(config)
    blocks = matrix_parameters(config) - 1024 * 128
    adamw = training_memory(config, 8, "adamw")
    muon = training_memory(config, 8, "muon")
    assert adamw.weights == adamw.gradients == 4 * n
    assert adamw.optimizer == 8 * n
    assert muon.optimizer == 8 * (n - blocks) + 4 * blocks
    half = training_memory(config, 8, "adamw", bfloat16=True)
    assert half.weights == 6 * n
    assert 2 * half.activations == adamw.activations
    assert adamw.total == adamw.weights + adamw.gradients + adamw.optimizer + adamw.activations


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("changes", "batch"),
    [({"layers": 8}, 4), ({"context": 256}, 2), ({"vocabulary": 4096}, 2), ({"hidden": 1024}, 4)],
)
def test_activations_are_an_estimate_from_above(changes, batch, checkpointing):
    config = ModelConfig(**changes)
    model = MiniLLM(config)
    model.checkpointing = checkpointing
    ids = mx.array(np.random.default_rng(0).integers(0, 1024, (batch, config.context + 1)))

    def loss(ids):
        return cross_entropy(model(ids[:, :-1]), ids[:, 1:]).mean()

    memory = training_memory(config, batch, "adamw", False, checkpointing)
    check(model, nn.value_and_grad(model, loss), ids, memory)


@pytest.mark.slow
@pytest.mark.skipif(not (compiles()[0] and has_slow_exponential()), reason="x86 with g++ only")
def test_activations_of_compiled_steps():
    config = ModelConfig()
    model = MiniLLM(config)
    ids = mx.array(np.random.default_rng(0).integers(0, 1024, (8, config.context + 1)))

    def loss(ids):
        return cross_entropy(model(ids[:, :-1]), ids[:, 1:]).mean()

    state = [model.state]
    gradients = fused(nn.value_and_grad(model, loss), inputs=state, outputs=state)
    mx.eval(gradients(ids))
    memory = training_memory(config, 8, "adamw", copies=COPIES_OF_EXPONENTIAL)
    check(model, gradients, ids, memory)


def check(model, gradients, ids, memory):
    """Compare what a call takes with what is predicted."""
    mx.eval(model.parameters())
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    mx.eval(gradients(ids))
    used = mx.get_peak_memory() - before
    predicted = memory.activations + memory.gradients
    assert 0.9 * used < predicted < 2 * used
