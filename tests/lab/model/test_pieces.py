"""Each piece against its formula in float64 numpy, and its gradient against differences."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx.utils import tree_flatten

from mlx_probe.lab.device import use_device
from mlx_probe.lab.model import attention, cross_entropy, exponential, feed_forward
from mlx_probe.lab.model.attention import Attention
from mlx_probe.lab.model.block import Block
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.dropout import draw_keys, dropout
from mlx_probe.lab.model.feed_forward import SwiGLU
from mlx_probe.lab.model.rms_norm import RMSNorm
from mlx_probe.lab.model.rotary import RotaryEmbedding

few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**31)


@pytest.fixture(autouse=True, scope="module")
def cpu():
    use_device("cpu")


@pytest.fixture(params=[False, True], ids=["MLX's exp", "ours"])
def slow_exponential(request, monkeypatch):
    """Both ways, whatever this machine has."""
    for module in (attention, cross_entropy, feed_forward):
        monkeypatch.setattr(module, "uses_exponential", lambda: request.param)
    return request.param


def drawn(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def matrix(module, name):
    return np.array(dict(tree_flatten(module.parameters()))[name]).astype(np.float64)


def near(ours, theirs, atol=1e-5):
    assert ours.dtype == mx.float32
    np.testing.assert_allclose(np.array(ours), theirs, atol=atol, rtol=1e-5)


def norm(x, weight, epsilon):
    return weight * x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)


def turned(x, theta, offset=0):
    half = x.shape[-1] // 2
    angles = (np.arange(x.shape[-2]) + offset)[:, None] * theta ** (-np.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cos - second * sin, first * sin + second * cos], -1)


def attended(module, config, x):
    batch, positions, _ = x.shape
    width = config.head_dim
    q, k, v = (x @ matrix(module, f"{name}_proj.weight").T for name in "qkv")
    q = q.reshape(batch, positions, config.heads, width)
    k, v = (each.reshape(batch, positions, config.kv_heads, width) for each in (k, v))
    if config.qk_norm:
        q = norm(q, matrix(module, "q_norm.weight"), config.norm_epsilon)
        k = norm(k, matrix(module, "k_norm.weight"), config.norm_epsilon)
    q, k, v = (each.transpose(0, 2, 1, 3) for each in (q, k, v))
    q, k = turned(q, config.rope_theta), turned(k, config.rope_theta)
    out = np.zeros_like(q)
    for head in range(config.heads):
        group = head // (config.heads // config.kv_heads)
        scores = q[:, head] @ k[:, group].swapaxes(-1, -2) / np.sqrt(width)
        scores[:, np.triu(np.ones((positions, positions), bool), 1)] = -np.inf
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        out[:, head] = powers / powers.sum(-1, keepdims=True) @ v[:, group]
    joined = out.transpose(0, 2, 1, 3).reshape(batch, positions, -1)
    return joined @ matrix(module, "o_proj.weight").T


def swiglu(module, x):
    gate, up = (x @ matrix(module, f"{name}_proj.weight").T for name in ("gate", "up"))
    return (gate / (1 + np.exp(-gate)) * up) @ matrix(module, "down_proj.weight").T


def filled(module, rng):
    """The module with normal weights, scaled so that outputs are of order 1."""
    module.load_weights(
        [
            (name, mx.array(drawn(rng, *old.shape) / np.float32(np.sqrt(old.shape[-1]))))
            if old.ndim == 2
            else (name, mx.array(rng.uniform(0.5, 1.5, old.shape), mx.float32))
            for name, old in tree_flatten(module.parameters())
        ]
    )
    return module


@few
@given(seeds, st.integers(1, 3), st.integers(1, 9), st.integers(1, 70))
def test_rms_norm(seed, batch, positions, width):
    rng = np.random.default_rng(seed)
    module = filled(RMSNorm(width, 1e-5), rng)
    x = drawn(rng, batch, positions, width) * rng.choice([1e-3, 1, 30])
    x = x.astype(np.float32)
    near(module(mx.array(x)), norm(x.astype(np.float64), matrix(module, "weight"), 1e-5))


@few
@given(seeds, st.integers(1, 40), st.integers(1, 20), st.sampled_from([1e4, 5e5]))
def test_rotary(seed, positions, half, theta):
    x = drawn(np.random.default_rng(seed), 2, 3, positions, 2 * half)
    for offset in (0, 7):
        near(
            RotaryEmbedding(2 * half, theta)(mx.array(x), offset),
            turned(x.astype(np.float64), theta, offset),
        )


def test_turning_depends_on_the_distance_alone():
    rng = np.random.default_rng(0)
    q, k = drawn(rng, 1, 1, 1, 16), drawn(rng, 1, 1, 1, 16)
    rotary = RotaryEmbedding(16, 1e4)

    def score(at_q, at_k):
        return float((rotary(mx.array(q), at_q) * rotary(mx.array(k), at_k)).sum())

    assert score(9, 4) == pytest.approx(score(105, 100), abs=1e-4)
    assert abs(score(9, 4) - score(9, 5)) > 1e-3


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_attention(slow_exponential, heads, qk_norm):
    @few
    @given(seeds, st.integers(1, 3), st.integers(1, 33), st.integers(1, 8))
    def check(seed, batch, positions, half):
        rng = np.random.default_rng(seed)
        config = ModelConfig(
            dim=heads[0] * 2 * half, heads=heads[0], kv_heads=heads[1], qk_norm=qk_norm
        )
        module = filled(Attention(config), rng)
        x = drawn(rng, batch, positions, config.dim)
        near(module(mx.array(x)), attended(module, config, x.astype(np.float64)))

    check()


def test_swiglu(slow_exponential):
    @few
    @given(seeds, st.integers(1, 20), st.integers(1, 40), st.integers(1, 60))
    def check(seed, positions, dim, hidden):
        rng = np.random.default_rng(seed)
        module = filled(SwiGLU(ModelConfig(dim=2 * dim, heads=1, kv_heads=1, hidden=hidden)), rng)
        x = drawn(rng, 2, positions, 2 * dim)
        near(module(mx.array(x)), swiglu(module, x.astype(np.float64)))

    check()


def test_a_block(slow_exponential):
    rng = np.random.default_rng(0)
    config = ModelConfig(dim=32, heads=4, kv_heads=2, hidden=48)
    module = filled(Block(config), rng)
    x = drawn(rng, 2, 11, 32)
    wide = x.astype(np.float64)
    weight = matrix(module, "input_layernorm.weight")
    wide = wide + attended(module.self_attn, config, norm(wide, weight, config.norm_epsilon))
    weight = matrix(module, "post_attention_layernorm.weight")
    wide = wide + swiglu(module.mlp, norm(wide, weight, config.norm_epsilon))
    near(module(mx.array(x)), wide)


def test_cross_entropy(slow_exponential):
    rng = np.random.default_rng(0)
    logits = drawn(rng, 3, 7, 50) * 8
    targets = rng.integers(0, 50, (3, 7))
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    log_p = wide - np.log(np.exp(wide).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_p, targets[..., None], -1)[..., 0]
    loss = cross_entropy.cross_entropy(mx.array(logits), mx.array(targets))
    near(loss, expected)
    # d/dz = softmax - one-hot.
    gradient = mx.grad(lambda z: cross_entropy.cross_entropy(z, mx.array(targets)).sum())(
        mx.array(logits)
    )
    near(gradient, np.exp(log_p) - np.eye(50)[targets], atol=1e-6)


def test_gradients_are_the_same_both_ways(monkeypatch):
    rng = np.random.default_rng(0)
    config = ModelConfig(dim=32, heads=4, kv_heads=2, hidden=48, qk_norm=True)
    module = filled(Block(config), rng)
    x, target = mx.array(drawn(rng, 2, 13, 32)), mx.array(drawn(rng, 2, 13, 32))
    results = []
    for ours in (False, True):
        for each in (attention, feed_forward):
            monkeypatch.setattr(each, "uses_exponential", lambda ours=ours: ours)
        _, gradients = nn.value_and_grad(module, lambda x: (module(x) * target).sum())(x)
        results.append(dict(tree_flatten(gradients)))
    for name, gradient in results[0].items():
        near(results[1][name], np.array(gradient), atol=2e-5)


def test_exponential_is_exact_to_float32():
    x = np.linspace(exponential.LOWEST, exponential.HIGHEST, 200_001, dtype=np.float32)
    ours = np.array(exponential.exponential(mx.array(x))).astype(np.float64)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(ours / exact - 1).max() < 2**-23
    assert exponential.exponential(mx.zeros(1)).item() == 1
    ends = np.array(exponential.exponential(mx.array([-np.inf, -1e30, np.nan, np.inf])))
    assert np.isnan(ends[2])
    assert 0 < ends[0] == ends[1] < 1.7e-38
    assert 6e37 < ends[3] < np.inf


def test_dropout_keeps_the_mean():
    x = mx.ones((200, 200))
    key = draw_keys(1)[0]
    y = np.array(dropout(x, 0.25, key))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert (y == 0).mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_array_equal(y, np.array(dropout(x, 0.25, key)))
    assert dropout(x, 0.25, None) is x
    assert dropout(x, 0.0, key) is x
