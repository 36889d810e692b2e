"""Every benchmark runs from end to end with its smallest setting, and writes its result."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from math import prod

import numpy as np
import pytest
from project import ROOT
from tiny_llm import make_model, make_tokenizer
from weightfiles import write_safetensors

BENCHMARKS = ROOT / "benchmarks"
SCRIPTS = {path.stem for path in BENCHMARKS.glob("[!_]*.py")} - {"weightwatcher_analyze"}
MODEL = "a small model"
RUNS = "a small model that runs"
WIDE = "a small model that runs, with rows of 64"
RECIPE = "a recipe for a second"
KEPT = "a folder of its own"
BARE = "a template without packages"
TINY = """
model: {dim: 32, layers: 1, heads: 4, kv_heads: 2, hidden: 64, vocabulary: 320, context: 64}
tokenizer: {kind: bytes}
train: {batch: 8, warmup: 1, compile: never, evaluation_tokens: 640}
snapshots: {per_decade: 1}
"""
TRAINED = ["--config", RECIPE, "--data", str(ROOT / "docs/en/metrics.md")]
ONCE = ["--runs", "1", "--cold"]
# Ways to the moments, which only this script has, and those to spectra of the same names: the
# others are run by tests/analysis/bench/test_methods.py.
WAYS = ("native", "numpy", "mlx", "numpy-float64", "torch-float64")
OF_MOMENTS = [word for way in WAYS for word in ("--only", way)]
SMALLEST = {
    "alpha_decay": [*TRAINED, "--steps", "6", "--seeds", "2"],
    "band_reduction": ["--side", "64", "--runs", "1", "--family", "log to 1e-9"],
    "backup": ["--size", "2MB", "--kill-size", "1MB", "--kills", "1", "--only", "own"],
    "budget": [
        *("--model", WIDE, "--data", str(ROOT / "docs/en/metrics.md")),
        *("--tokens", "24", "--context", "8"),
    ],
    "cluster": [
        *(MODEL, "--runs", "1", "--size", "1MB", "--divisor", "32"),
        *("--kills", "1", "--restarts", "0", "--clients", "0"),
    ],
    "compare": [MODEL, *ONCE],
    "coverage": ["--trials", "2"],
    "eigenvalues": ["--sizes", "64", "--runs", "1", "--exact-sizes", "40"],
    "elements": ["--elements", "131072", "--runs", "1"],
    "environments": ["--template", BARE],
    "experiments": ["--runs", "3", "--times", "1", "--commands", "1"],
    "experts": ["--experts", "4", "--scale", "64", "--whole-scale", "16", "--runs", "1"],
    "exporting": [RUNS, "--type", "f32", "--prompts", "2", "--length", "3"],
    "extract_lora": [RUNS, "--rank", "2"],
    "forecast": [MODEL, "--runs", "1"],
    "function_calling": [
        *("--model", "tiny", "--trained", "0-9", "--judged", "10-11", "--tokens", "6"),
    ],
    "grafting": [
        *(RUNS, "--experts", "4", "--tokens", "48", "--damage-tokens", "24", "--scale", "64"),
        *("--data", str(ROOT / "docs" / "en")),
    ],
    "hard_spectra": ["--sizes", "64"],
    "large_matrices": ["--runs", "1", "--scale", "32"],
    "lineage": ["--families", "1", "--steps", "1", "--divisor", "32"],
    "load_test": ["--requests", "60", "--connections", "8"],
    "memory": ["--size", "1MB", "--scale", "32"],
    "merge_weights": ["--steps", "2", "--divisor", "32"],
    "metrics": [MODEL, *ONCE],
    "moe_stats": [
        *("--layers", "3", "--experts", "10", "--hidden", "32", "--width", "16", "--filled", "1"),
    ],
    "moe_training": [
        *(RUNS, "--data", str(ROOT / "docs" / "en"), "--seeds", "2", "--steps", "1"),
        *("--context", "16", "--tokens", "16", "--gate-steps", "1", "--gate-batch", "1"),
        *("--scale", "4", "--runs", "1", "--kept", KEPT, "--way", "cluster"),
    ],
    "moments": ["--elements", "131072", "--runs", "1"],
    "nanogpt": [*TRAINED, "--iterations", "1", "--seeds", "2", "--no-seconds"],
    "nulls": ["--trials", "2"],
    "rehearsal": [
        *("--model", "gpt-oss", "--filled", "1", "--layers", "1", "--experts", "10"),
        *("--mixture", "0", "--turns", "1"),
    ],
    "resume": ["--kills", "1", "--steps", "8"],
    "run_plan": [
        *(
            "--model",
            WIDE,
            "--data",
            str(ROOT / "docs/en/metrics.md"),
            "--bits",
            "16",
            "--bits",
            "4",
        ),
        *("--tokens", "3", "--text", "48", "--runs", "1"),
    ],
    "routing": [
        *(RUNS, "--experts", "4", "--copies", "3", "--tokens", "24"),
        *("--data", str(ROOT / "docs/en/metrics.md")),
    ],
    "runs": [MODEL, "--count", "2", *ONCE],
    "sampler": ["--seconds", "1"],
    "scaling": ["--runs", "1", "--largest", "512"],
    "schedule": ["--model", "Llama 2 7B, bfloat16", "--processes", "1"],
    "series": ["--healthy", "1", "--places", "5", "--count", "6", "--only", "NaN"],
    "serving": ["--clients", "2", "--requests", "4", "--output-len", "4"],
    "side_by_side": [MODEL, "--runs", "1", "--include", "*", *OF_MOMENTS],
    "similar_layers": [
        *("--steps", "0", "--model", RUNS, "--influence", "16"),
        *("--data", str(ROOT / "docs/en/metrics.md")),
    ],
    "startup": [MODEL, *ONCE],
    "summary": [MODEL],
    "surprise": [
        *("--data", str(ROOT / "docs/en/metrics.md"), "--seeds", "2", "--steps", "2"),
        *("--dense-steps", "2", "--evaluated", "512", "--only", "smk", "--only", "output, 1"),
        *("--windows", "12"),
    ],
    "tiny_tensors": ["--tensors", "40"],
    "tokenizing": ["--size", "200KB"],
    "efficiency": ["--steps", "1", "--models", "1"],
    "training": [*TRAINED, "--optimizer", "adamw", "--steps", "30", "--runs", "1"],
    "tuning": [
        *("--kills", "1", "--steps", "4", "--model", "tiny", "--sizes", "1"),
        # The other objective is killed in the same way, and again in tests/lab/tune.
        *("--only", "grpo", "--only", "memory"),
    ],
    "typical": ["--model", "minilm", MODEL, "--layers", "1", "--side", "64", "--experts", "4"],
    "unit_costs": [
        *(MODEL, "--runs", "1", "--largest", "512", "--rows", "40", "--workers", "1"),
        *("--scale", "16"),
    ],
    "unpacking": ["--rows", "2048", "--cols", "512"],
    "watch": [*TRAINED, "--steps", "4", "--runs", "1"],
    "whole_run": [MODEL, *ONCE],
}
# Of those that have more results than the one of their name.
RESULTS = {
    "backup": {"backup", "backup_kills"},
    "cluster": {"cluster", "cluster_deaths"},
    "band_reduction": {f"band_reduction{part}" for part in ("", "_errors", "_counts", "_m3_ultra")},
    "function_calling": {"function_calling", "function_calling_rewards"},
    "grafting": {"grafting", "grafting_splits", "grafting_memory"},
    "lineage": {"lineage", "lineage_calibration", "lineage_cost"},
    "rehearsal": {"rehearsal", "rehearsal_rows"},
    "run_plan": {"run_plan", "run_plan_losses"},
    "surprise": {"surprise", "surprise_losses", "surprise_signals"},
    "moe_training": {f"moe_training{part}" for part in ("", "_blocks", "_gate")},
    "merge_weights": {"merge_weights", "merge_weights_cost"},
    "series": {"series", "series_calls"},
    "similar_layers": {"similar_layers", "similar_layers_influence"},
    "schedule": {"schedule", "schedule_assumptions", "schedule_gains"},
    "tuning": {"tuning_grpo", "tuning_memory"},
    "unit_costs": {"unit_costs", "unit_costs_compared"},
}


# Of the published files: their number, the tensors, and the elements of each type.
PUBLISHED = {
    "deepseek": (163, 91991, {"F8_E4M3": 680571043840, "BF16": 3918786560, "F32": 41555600}),
    "qwen": (118, 36945, {"BF16": 235093634560}),
    "llama": (191, 1137, {"BF16": 405853388800}),
    # The Hub counts two numbers in a byte of blocks: 118,244,966,400.
    "gpt-oss": (15, 687, {"BF16": 2167371072, "U8": 60914073600}),
}


@pytest.fixture
def rehearsal(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("rehearsal")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_rehearsed_models_are_those_that_are_published(name, rehearsal):
    files = rehearsal.shards_of(rehearsal.MODELS[name]())
    elements = Counter()
    for tensors in files.values():
        for dtype, shape in tensors.values():
            elements[dtype] += prod(shape)
    assert (len(files), sum(map(len, files.values())), elements) == PUBLISHED[name]


def test_the_rehearsed_files_begin_with_the_published_layers(rehearsal):
    files = list(rehearsal.shards_of(rehearsal.MODELS["deepseek"]()).items())
    assert files[-1][0] == "model-00163-of-000163.safetensors"
    of = {name: number for number, (_, tensors) in enumerate(files, 1) for name in tensors}
    begin = {0: 1, 7: 13, 15: 35, 23: 57, 31: 79, 39: 101, 47: 123, 54: 142, 61: 161}
    for layer, number in begin.items():
        assert of[f"model.layers.{layer}.self_attn.q_a_proj.weight"] == number
    assert (of["model.embed_tokens.weight"], of["lm_head.weight"]) == (1, 160)
    assert of["model.layers.61.eh_proj.weight"] == of["model.layers.61.enorm.weight"] == 163
    qwen = rehearsal.shards_of(rehearsal.MODELS["qwen"]())["model-00001-of-00118.safetensors"]
    experts = {name for name in qwen if ".experts." in name}
    assert (len(qwen), len(experts)) == (214, 3 * 69)


def test_the_rehearsed_gguf_has_the_types_of_llama_cpp(rehearsal):
    tensors = rehearsal.quantized(rehearsal.Deepseek())
    assert Counter(kind for kind, _ in tensors.values()) == {"F32": 361, "Q4_K": 606, "Q6_K": 58}


def test_the_results_that_the_documentation_shows_have_a_script():
    text = (ROOT / "docs" / "en" / "performance.md").read_text("utf-8")
    shown = set(re.findall("<!-- results: (.+) -->", text))
    assert shown <= set.union(SCRIPTS, *RESULTS.values())


def test_no_script_is_forgotten():
    assert set(SMALLEST) == SCRIPTS


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("small")
    shapes = {"self_attn.q_proj": (64, 64), "mlp.up_proj": (128, 64)}
    arrays = {
        f"model.layers.0.{name}.weight": rng.standard_normal(shape, np.float32)
        for name, shape in shapes.items()
    }
    write_safetensors(folder / "model.safetensors", arrays)
    return str(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return str(make_model(root / "model", make_tokenizer(root / "tokenizer", "bytes")))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    root = tmp_path_factory.mktemp("wide")
    tokenizer = make_tokenizer(root / "tokenizer", "bytes")
    return str(make_model(root / "model", tokenizer, dim=64, hidden=128))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


# MLX has g++ compile dozens of kernels, half a second each; without them it computes the same, one
# operation at a time. Compiled steps are tested in tests/lab/train and tests/lab/tune.
WITHOUT_KERNELS = {"MLX_DISABLE_COMPILE": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("script", SMALLEST)
def test_it_writes_its_result(script, small, runs, wide, recipe, tmp_path):
    made = {MODEL: small, RUNS: runs, WIDE: wide, RECIPE: recipe}
    made[KEPT] = str(tmp_path.with_name("kept"))
    bare = tmp_path.with_name("bare.yaml")
    bare.write_text("{name: bare, description: Nothing, requirements: []}")
    made[BARE] = str(bare)
    words = [made.get(word, word) for word in SMALLEST[script]]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / f"{script}.py", *words, "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | WITHOUT_KERNELS,
    )
    # 1: so small a setting misses the script's limit.
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    written = {path.stem: path for path in tmp_path.iterdir()}
    assert set(written) == RESULTS.get(script, {script})
    for path in written.values():
        result = json.loads(path.read_text("utf-8"))
        assert list(result) == ["date", "machine", "command", "columns", "rows", "note"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", result["date"])
        assert " cores, " in result["machine"]
        assert result["command"].startswith(f"python benchmarks/{script}.py ")
        assert str(tmp_path) not in result["command"]
        assert result["rows"]
        assert {len(row) for row in result["rows"]} == {len(result["columns"])}
        assert result["columns"][0] in done.stdout
