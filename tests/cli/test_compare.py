"""`mlx-probe compare` through the command line."""

import json

import numpy as np
import pytest
from models import invoke, refuses
from pairs import base_model, saved


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    arrays = base_model(np.random.default_rng(5), layers=12)
    tuned = dict(arrays)
    name = "model.layers.7.mlp.up_proj.weight"
    tuned[name] = arrays[name] * np.float32(1.25)
    tuned["[red]evil\x1b[2J"] = np.ones((2, 2), np.float32)
    tuned["model.embed_tokens.weight"] = arrays["model.embed_tokens.weight"][:50]
    return saved(folder / "a", arrays), saved(folder / "b", tuned)


def test_what_it_says(pair, tmp_path):
    result = invoke("compare", *pair, "--out", tmp_path, COLUMNS="200")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "model.layers.7.mlp.up_proj.weight 0.25 1.000000 40" in text
    assert "62 rows (1 reshaped, 59 identical, 1 ok, 1 only_b)" in text
    assert "90 x 40 in A, 50 x 40 in B" in text
    assert "\x1b[2J" not in result.output
    assert "[red]evil\\x1b[2J" in text
    assert (tmp_path / "compare.csv").exists()
    assert "compare.run_meta.json" in result.stdout
    assert "stage worker s data" in text
    assert "limit: " in text


def test_quiet_says_nothing(pair, tmp_path):
    result = invoke("compare", *pair, "--out", tmp_path, "--quiet", "--format", "jsonl")
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "compare.jsonl").exists()


def test_options_reach_the_comparison(pair, tmp_path):
    result = invoke(
        *("compare", *pair, "--out", tmp_path / "x.parquet", "--include", "*layers.7*"),
        *("--rank-tol", "1e-4", "--directions", "4", "--intruder-directions", "3"),
        *("--intruder-epsilon", "0.25", "--workers", "1", "--exclude", "*norm*", "-q"),
    )
    assert result.exit_code == 0, result.output
    meta = json.loads((tmp_path / "x.run_meta.json").read_text())
    configuration = meta["configuration"]
    assert configuration["memory_limit"] > 0
    assert {key: configuration[key] for key in configuration if key != "memory_limit"} == {
        "backend": "numpy",
        "device": "auto",
        "include": ["*layers.7*"],
        "exclude": ["*norm*"],
        "rank_tol": 1e-4,
        "directions": 4,
        "intruder_directions": 3,
        "intruder_epsilon": 0.25,
        "workers": 1,
    }
    assert sum(meta["rows_by_status"].values()) == 4


def test_what_goes_wrong_is_one_message(pair, tmp_path):
    a, b = pair
    refuses(invoke("compare", a, tmp_path / "missing", "--out", tmp_path), "does not exist")
    refuses(invoke("compare", a, b, "--include", "nix", "--out", tmp_path), "no tensor", code=2)
    refuses(invoke("compare", a, b, "--revision-b", "main"), "local path", code=2)
    refuses(invoke("compare", a, b, "--out", tmp_path, "--memory-limit", "1KB"), "hold", code=2)
    assert invoke("compare", a).exit_code == 2
    assert not list(tmp_path.iterdir())
