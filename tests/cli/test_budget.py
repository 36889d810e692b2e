"""What `mlx-probe budget` says in a terminal."""

import re

import mlx.core as mx
import pytest
from lab import mlx_lm
from models import invoke
from tiny_llm import make_model, make_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    mlx_lm("utils")
    root = tmp_path_factory.mktemp("budget")
    with mx.stream(mx.cpu):
        return make_model(root / "model", make_tokenizer(root / "tokenizer"))


def test_sizes_error_choices_and_what_is_kept(model, tmp_path):
    done = invoke("budget", model, "--size", "90kB", "--out", tmp_path / "out", COLUMNS="90")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    first = {line.split()[0]: line for line in lines[:7]}
    assert "at most 90.0 kB, the least error" in first["goal"]
    assert "bytes saved" in first["size"]
    assert "the best there is" in first["choice"]
    assert str(tmp_path / "out") in re.sub(r"\n\s*", "", done.stdout)
    assert any("down_proj" in line and "columns" not in line for line in lines)
    kept = done.stdout.partition("kept ")[2]
    # Rows of 48 are no whole groups of 32; such a matrix could still be cut.
    assert "a vector" in kept
    assert (tmp_path / "out" / "choices.csv").is_file()
    listed = invoke("runs", "scan", tmp_path / "out", MLX_PROBE_CATALOG=str(tmp_path / "c.sqlite"))
    assert "1" in listed.stdout


def test_flat_matrices_say_why_they_are_not_cut(model):
    done = invoke("budget", model, "--energy", "0.9999", "--kinds", "rank")
    assert done.exit_code == 0, done.output
    assert "and only ranks up to" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "1kB"], "the smallest choice takes"),
        ([], "0 goals are given"),
        (["--error", "0.1", "--kinds", "bits,sparse"], "'sparse' is neither bits nor rank"),
        (["--error", "2"], "2"),
    ],
)
def test_what_is_refused(model, words, said):
    refused = invoke("budget", model, *words)
    assert refused.exit_code == 2
    assert said in refused.stderr
