"""The plan of running a model: bytes, speed, longest context, what rounding costs, advice."""

import json
import math

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import invoke
from weightfiles import write_safetensors

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.plan_run import plan_run as planning
from mlx_probe.lab.plan_run.plan_run import plan_run
from mlx_probe.lab.plan_run.rates import Rates, measure_rates

HIDDEN, INNER, HEADS, KV, WIDTH, LAYERS, TOKENS = 128, 192, 4, 2, 32, 6, 320
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV,
    "head_dim": WIDTH,
    "num_hidden_layers": LAYERS,
    "vocab_size": TOKENS,
    "max_position_embeddings": 4096,
}
BLOCK = {
    "self_attn.q_proj": (HEADS * WIDTH, HIDDEN),
    "self_attn.k_proj": (KV * WIDTH, HIDDEN),
    "self_attn.v_proj": (KV * WIDTH, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HEADS * WIDTH),
}
DENSE = {
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
# 4 bytes of a number on a CPU; a scale and a bias for 64 numbers.
FLOAT, SCALES = 4, 2 * 4 / 64


def write(folder, config, block, head=False):
    """A model with random weights in Hugging Face's layout."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    shapes = {"model.embed_tokens": (TOKENS, HIDDEN), "model.norm": (HIDDEN,)}
    if head:
        shapes["lm_head"] = (TOKENS, HIDDEN)
    for layer in range(LAYERS):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}
        shapes[f"model.layers.{layer}.input_layernorm"] = (HIDDEN,)
    write_safetensors(
        folder / "model.safetensors",
        {f"{name}.weight": rng.normal(size=s).astype("f4") for name, s in shapes.items()},
    )
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return write(tmp_path_factory.mktemp("dense") / "model", CONFIG, BLOCK | DENSE)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    experts = {
        f"mlp.experts.{e}.{name.removeprefix('mlp.')}": shape
        for e in range(8)
        for name, shape in DENSE.items()
    }
    config = CONFIG | {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": INNER,
    }
    block = BLOCK | experts | {"mlp.gate": (8, HIDDEN)}
    return write(tmp_path_factory.mktemp("mixture") / "model", config, block)


@pytest.fixture(autouse=True)
def rates(monkeypatch):
    """The same speed whatever this machine does: a byte costs as much at any width."""
    made = {"bandwidth": 1e9, "product_seconds": 1e-5}

    def measured(widths, dtype):
        bandwidth = dict.fromkeys((*widths, 16), made["bandwidth"])
        return Rates(bandwidth, made["product_seconds"], measured=True)

    monkeypatch.setattr(planning, "measure_rates", measured)


def numbers(shapes):
    return sum(map(math.prod, shapes))


def planned(folder, **settings):
    settings = {"widths": (16, 4), "contexts": (100,), "quality": "none", **settings}
    return plan_run(str(folder), device="cpu", **settings)


def test_bytes_and_speed_of_a_dense_model(dense):
    plan = planned(dense)
    matrices = LAYERS * numbers((BLOCK | DENSE).values()) + TOKENS * HIDDEN
    rest = (LAYERS + 1) * HIDDEN
    cache = FLOAT * 2 * KV * WIDTH * LAYERS * 100
    for option, each in zip(plan.options, (FLOAT, 0.5 + SCALES), strict=True):
        weights = round(matrices * each + rest * FLOAT)
        assert option.weights == weights
        assert option.cache == cache
        assert option.total == weights + cache + option.working
        # The embedding is the head, too: all of it is read.
        seconds = (weights + cache) / 1e9 + (7 * LAYERS + 1) * 1e-5
        assert option.tokens_per_second == pytest.approx(1 / seconds)
        assert option.fits
    assert [width.read for width in plan.widths] == [option.weights for option in plan.options]


def test_an_embedding_beside_a_head_is_not_read(tmp_path):
    plan = planned(write(tmp_path / "model", CONFIG, BLOCK | DENSE, head=True), widths=(16,))
    assert plan.widths[0].weights - plan.widths[0].read == TOKENS * HIDDEN * FLOAT


def test_of_a_mixture_the_active_experts_are_read(mixture):
    plan = planned(mixture, widths=(16,))
    experts = LAYERS * 8 * numbers(DENSE.values())
    assert plan.experts == {"active": 2, "of": 8}
    assert plan.widths[0].weights - plan.widths[0].read == experts * 6 / 8 * FLOAT


def test_unknown_experts_of_a_token_give_no_speed(mixture, tmp_path):
    config = json.loads((mixture / "config.json").read_text())
    del config["num_experts_per_tok"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(mixture / "model.safetensors")
    plan = planned(tmp_path)
    assert {option.tokens_per_second for option in plan.options} == {None}
    assert plan.widths[0].read is None
    (why,) = plan.unknown
    assert "how many experts a token uses" in why


def test_errors_are_those_of_mlx(dense):
    plan = planned(dense, widths=(8, 4, 3), quality="all")
    assert plan.quality == {"rounded": 7 * LAYERS + 1, "of": 7 * LAYERS + 1, "sample": ""}
    arrays = mx.load(str(dense / "model.safetensors"))
    matrices = {name: array for name, array in arrays.items() if array.ndim == 2}
    for width in plan.widths:
        squared = energy = 0.0
        single = {}
        for name, array in matrices.items():
            packed = mx.quantize(array, group_size=64, bits=width.bits)
            back = mx.dequantize(*packed, group_size=64, bits=width.bits)
            exact = np.array(array, np.float64)
            lost, all_ = ((exact - np.array(back)) ** 2).sum(), (exact**2).sum()
            squared, energy = squared + lost, energy + all_
            single[name] = math.sqrt(lost / all_)
        assert width.error == pytest.approx(math.sqrt(squared / energy), rel=1e-4)
        largest = sorted(single.values(), reverse=True)[:3]
        assert [error for _, error in width.worst] == pytest.approx(largest, rel=1e-4)


def test_a_sample_rounds_four_layers(dense, mixture):
    assert planned(dense, quality="sample").quality == {
        "rounded": 7 * 4 + 1,
        "of": 7 * LAYERS + 1,
        "sample": "layers=4",
    }
    # All eight experts of a layer are no fewer than eight; the router's rows are whole groups.
    assert planned(mixture, quality="sample").quality["rounded"] == (4 + 3 * 8 + 1) * 4 + 1


@given(memory=st.integers(1, 1 << 23))
def test_the_longest_context_fits_and_one_token_more_does_not(dense, memory):
    plan = planned(dense, memory=memory, bandwidth=1e9)
    for width in plan.widths:
        longest = width.longest
        if longest:
            fits = planned(dense, widths=(width.bits,), memory=memory, contexts=(longest,))
            assert fits.options[0].fits
        if longest < CONFIG["max_position_embeddings"]:
            beyond = planned(dense, widths=(width.bits,), memory=memory, contexts=(longest + 1,))
            assert not beyond.options[0].fits


def test_a_named_bandwidth_is_an_upper_bound(dense):
    plan = planned(dense, bandwidth=5e8)
    assert not plan.bandwidth_measured
    for option, width in zip(plan.options, plan.widths, strict=True):
        assert option.tokens_per_second == pytest.approx(5e8 / (width.read + option.cache))


def test_advice_begins_with_the_widest_that_fits(dense, mixture):
    plan = planned(dense, contexts=(100, 5000), quality="all")
    first, second, last = plan.advice
    assert first.startswith("Run it in 16 bits: with 5,000 tokens it takes")
    error = f"{plan.widths[1].error:.1%}"
    assert "--to mlx --bits 4`" in second
    assert second.endswith(f"its weights change by: {error}")
    assert last == "Expect worse answers beyond 4,096 tokens: it was trained on no longer contexts"
    narrow = (plan.options[3].total + plan.options[1].total) // 2
    assert planned(dense, contexts=(100, 5000), memory=narrow).advice[0].startswith("Run it in 4")
    none = planned(mixture, memory=1000)
    assert not none.fits
    assert none.advice[0].startswith("Choose a smaller model: in 4 bits its weights alone take")
    assert none.advice[1] == "Or leave out experts by `mlx-probe moe prune`"


def test_fewer_bits_that_are_no_faster(dense, monkeypatch):
    slow = Rates({16: 8e9, 4: 1e9}, 0.0, measured=True)
    monkeypatch.setattr(planning, "measure_rates", lambda widths, dtype: slow)
    assert "Take fewer bits only to save memory: here they are not faster" in planned(dense).advice


def test_refused_by_name(dense, tmp_path):
    with pytest.raises(ConfigError, match="no 7 bits"):
        planned(dense, widths=(7,))
    write_safetensors(tmp_path / "model.safetensors", {"bias": np.ones(3, "f4")})
    with pytest.raises(ConfigError, match="no matrix that MLX quantizes"):
        planned(tmp_path)


def test_rates_are_measured():
    with mx.stream(mx.cpu):
        rates = measure_rates((4,), mx.float32)
    assert rates.bandwidth.keys() == {4, 16}
    assert all(value > 0 for value in (*rates.bandwidth.values(), rates.product_seconds))


def test_a_folder_called_run_has_a_plan(dense, tmp_path, monkeypatch):
    (tmp_path / "run").symlink_to(dense)
    monkeypatch.chdir(tmp_path)
    result = invoke("plan", "run", "--backend", "numpy", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["weights"] == 7 * LAYERS + LAYERS + 2


def test_the_command(dense):
    result = invoke("plan", "run", dense, "--bits", "4", "--context", "64")
    assert result.exit_code == 0
    assert "1. Run it in 4 bits" in " ".join(result.stdout.split())
    before = invoke("plan", "run", "--bits", "4", "--context", "64", dense)
    assert before.exit_code == 0
    assert "1. Run it in 4 bits" in " ".join(before.stdout.split())
    result = invoke("plan", "run", dense, "--memory", "10kB", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["fits"] is False
    assert "it does not fit" in result.stderr
