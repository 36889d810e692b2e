"""Tokens that a difference reads and writes: planted ones are found, and noise is not."""

import shutil

import mlx.core as mx
import numpy as np
import pytest
from models import invoke
from safetensors.numpy import load_file, save_file
from tiny_llm import make_model, make_tokenizer

import mlx_probe
from mlx_probe.checkpoint.vocabulary import read_tokens
from mlx_probe.lab.extract_lora.extract import extract_lora
from mlx_probe.source import resolve

READ, WRITTEN, OTHER = 77, 101, 55
Q, DOWN = "model.layers.1.self_attn.q_proj.weight", "model.layers.0.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Norms are no ones: who forgets them finds other tokens."""
    root = tmp_path_factory.mktemp("tokens")
    with mx.stream(mx.cpu):
        folder = make_model(root / "base", make_tokenizer(root / "tokenizer"), dim=64, hidden=64)
    arrays = load_file(folder / "model.safetensors")
    rng = np.random.default_rng(0)
    for name, array in arrays.items():
        if "norm" in name:
            arrays[name] = rng.uniform(0.05, 3, array.shape).astype("f4")
    save_file(arrays, folder / "model.safetensors", {"format": "pt"})
    return folder


def planted(folder, base, changes):
    shutil.copytree(base, folder)
    arrays = load_file(base / "model.safetensors")
    for name, change in changes.items():
        arrays[name] = (arrays[name] + change).astype("f4")
    save_file(arrays, folder / "model.safetensors", {"format": "pt"})
    return folder


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.fixture(scope="module")
def run(tmp_path_factory, base):
    """A query that reads one token's embedding, and an MLP that writes another's row."""
    root = tmp_path_factory.mktemp("planted")
    arrays = {n: x.astype("f8") for n, x in load_file(base / "model.safetensors").items()}
    table = arrays["model.embed_tokens.weight"]
    rng = np.random.default_rng(1)
    reads = unit(arrays["model.layers.1.input_layernorm.weight"] * table[READ])
    writes = unit(arrays["model.norm.weight"] * table[WRITTEN])
    opposite = unit(arrays["model.norm.weight"] * table[OTHER])
    opposite = unit(opposite - (opposite @ writes) * writes)
    sizes = {name: np.linalg.norm(arrays[name]) for name in (Q, DOWN)}
    changes = {
        Q: sizes[Q] * np.outer(unit(rng.standard_normal(len(arrays[Q]))), reads),
        DOWN: sizes[DOWN] * np.outer(writes, unit(rng.standard_normal(64)))
        - 0.5 * sizes[DOWN] * np.outer(opposite, unit(rng.standard_normal(64))),
    }
    tuned = planted(root / "tuned", base, changes)
    return extract_lora(base, tuned, rank=2, out=root / "out", formats=["parquet"])


def first(run, name, direction=1):
    """The tokens at the first place of a direction, by cosine."""
    rows = mlx_probe.load_side_table(run, "tokens")
    rows = rows[(rows.param_name == name) & (rows.direction == direction) & (rows.place == 1)]
    return rows.loc[rows.token_cosine.abs().idxmax()]


def test_planted_tokens_are_at_the_first_place(run, base):
    texts = read_tokens(resolve(str(base)))
    for name, side, token in ((Q, "reads", READ), (DOWN, "writes", WRITTEN)):
        row = first(run, name)
        assert (row.token_side, row.token_id, row.token) == (side, token, texts[token])
        assert abs(row.token_cosine) > 0.999
        assert abs(row.token_cosine) > row.null_cosine
        assert row.direction_share > 0.5
    assert first(run, DOWN, 2).token_id == OTHER
    said = run.meta["extraction"]["tokens"]
    assert (said["reason"], said["matrices"]) == (None, 2)
    listed = {(each["tensor"], each["side"], each["direction"]) for each in said["directions"]}
    assert listed == {(Q, "reads", 1), (DOWN, "writes", 1), (DOWN, "writes", 2)}
    assert said["changed"][0]["id"] == READ


def test_cosines_and_changes_are_those_of_the_definitions(run, base):
    arrays = {n: x.astype("f8") for n, x in load_file(base / "model.safetensors").items()}
    rows = np.array(arrays["model.embed_tokens.weight"])
    rows *= arrays["model.layers.1.input_layernorm.weight"]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    after = load_file(run.meta["models"]["b"]["path"] + "/model.safetensors")
    change = after[Q].astype("f8") - arrays[Q]
    v = np.linalg.svd(change)[2][0]
    table = mlx_probe.load_side_table(run, "tokens")
    table = table[(table.param_name == Q) & (table.direction == 1)]
    v *= np.sign(table.token_cosine.iloc[0]) * np.sign(rows[table.token_id.iloc[0]] @ v)
    np.testing.assert_allclose(table.token_cosine, rows[table.token_id] @ v, atol=2e-6)
    assert sorted(table.place) == sorted(2 * list(range(1, 6)))
    usual = np.linalg.norm(arrays[Q]) / np.sqrt(64)
    for each in run.meta["extraction"]["tokens"]["changed"][:3]:
        want = np.linalg.norm(change @ rows[each["id"]]) / usual
        assert each["change"] == pytest.approx(want, rel=1e-3)


def test_noise_has_no_tokens(tmp_path, base):
    """Random directions exceed the largest chance cosine as often as chance has it."""
    rng = np.random.default_rng(3)
    names = [n for n in load_file(base / "model.safetensors") if "proj" in n]
    shapes = {n: load_file(base / "model.safetensors")[n].shape for n in names}
    changes = {n: 0.05 * rng.standard_normal(shape) for n, shape in shapes.items()}
    tuned = planted(tmp_path / "tuned", base, changes)
    run = extract_lora(base, tuned, rank=4, out=tmp_path / "out")
    rows = mlx_probe.load_side_table(run, "tokens")
    groups = rows.groupby(["param_name", "direction"])
    above = groups.apply(lambda g: (g.token_cosine.abs() > g.null_cosine).any())
    assert len(above) == 14 * 4
    # Each direction is above all of 40 random ones with a chance of 1 in 41.
    assert above.sum() <= 5


def test_without_a_tokenizer_tokens_are_numbers(tmp_path, run, base):
    bare = tmp_path / "bare"
    shutil.copytree(base, bare, ignore=shutil.ignore_patterns("token*", "vocab*", "*.model"))
    result = invoke(
        "compare", bare, run.meta["models"]["b"]["path"], "--extract-lora", 1, "--out",
        tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "the model has no tokenizer: tokens are numbers" in result.output
    assert "1.00  " in result.output
    assert str(WRITTEN) in result.output


def test_the_page_shows_them(tmp_path, run):
    result = invoke("report", run.folder, "--out", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text("utf-8")
    section = page.partition('<section id="adapter"')[2].partition("</section>")[0]
    assert "adapter: 2 matrices, rank 2 at most" in section
    assert f"reads {Q}" in section
    assert f"writes {DOWN}" in section
    assert "by chance" in section
    both = invoke("report", run.folder, run.folder, "--out", tmp_path / "two.html")
    assert both.exit_code == 0, both.output
    two = (tmp_path / "two.html").read_text("utf-8")
    assert two.count("adapter: 2 matrices, rank 2 at most") == 2
