"""Block influence and losses against a llama that numpy computes in float64."""

import json

import mlx.core as mx
import numpy as np
import pytest
from models import invoke
from safetensors.numpy import load_file
from tiny_llm import TEXTS, make_model, make_tokenizer

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.block_influence import InfluenceConfig, block_influence
from mlx_probe.lab.block_influence.stream import loss_without
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.moe.text import text_rows

TOKENS, WINDOW = 40, 20


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("influence")
    text = root / "text.txt"
    text.write_text("\n\n".join(TEXTS), "utf-8")
    return make_model(root / "model", make_tokenizer(root / "tokenizer"), layers=3), str(text)


def normed(x, weight, epsilon):
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + epsilon) * weight


def rotated(x, base):
    """Of (heads, T, width): rotary embeddings, the two halves of a head together."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None] * base ** (-np.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def plain_llama(folder, tokens, without=()):
    """The stream before and behind each block, and mean nats a token."""
    w = {name: a.astype(np.float64) for name, a in load_file(folder / "model.safetensors").items()}
    config = json.loads((folder / "config.json").read_text("utf-8"))
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    base = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    epsilon = config["rms_norm_eps"]
    x = w["model.embed_tokens.weight"][tokens[:-1]]
    streams = [x]
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        if layer not in without:
            h = normed(x, w[p + "input_layernorm.weight"], epsilon)
            q, k, v = (
                (h @ w[f"{p}self_attn.{n}_proj.weight"].T)
                .reshape(len(h), count, -1)
                .transpose(1, 0, 2)
                for n, count in (("q", heads), ("k", groups), ("v", groups))
            )
            k, v = (np.repeat(each, heads // groups, axis=0) for each in (k, v))
            q, k = rotated(q, base), rotated(k, base)
            scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
            scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            shares /= shares.sum(-1, keepdims=True)
            mixed = (shares @ v).transpose(1, 0, 2).reshape(len(h), -1)
            x = x + mixed @ w[p + "self_attn.o_proj.weight"].T
            h = normed(x, w[p + "post_attention_layernorm.weight"], epsilon)
            gate, up = (h @ w[f"{p}mlp.{n}_proj.weight"].T for n in ("gate", "up"))
            x = x + (gate / (1 + np.exp(-gate)) * up) @ w[p + "mlp.down_proj.weight"].T
        streams.append(x)
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    logits = normed(x, w["model.norm.weight"], epsilon) @ head.T
    logits -= logits.max(-1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return np.stack(streams), -float(np.mean(logs[np.arange(len(logs)), tokens[1:]]))


def cosines(one, other):
    return (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)


def test_influence_is_that_of_the_definition(model):
    folder, text = model
    config = InfluenceConfig(tokens=TOKENS, window=WINDOW, removal=True)
    found = block_influence(str(folder), text, config, device="cpu")
    rows = text_rows(load_model(folder), text, TOKENS, WINDOW)
    read = [plain_llama(folder, row) for row in rows]
    assert found.windows == len(rows) == 2
    assert found.loss == pytest.approx(np.mean([loss for _, loss in read]), abs=1e-4)
    for layer in range(3):
        of_tokens = [cosines(stream[layer], stream[layer + 1]) for stream, _ in read]
        assert found.influence[layer] == pytest.approx(1 - np.mean(of_tokens), abs=1e-4)
        assert found.without is not None
        without = np.mean([plain_llama(folder, row, [layer])[1] for row in rows])
        assert found.without[layer] == pytest.approx(without, abs=1e-3)
    for first, last in ((0, 3), (1, 3), (0, 2)):
        angle = [np.arccos(cosines(stream[first], stream[last])) / np.pi for stream, _ in read]
        assert found.angular[first, last] == pytest.approx(np.mean(angle), abs=1e-4)
    least = min(range(2), key=lambda first: found.angular[first, first + 2])
    assert found.least_turning(2) == (least, found.angular[least, least + 2])


def test_the_model_is_as_before(model):
    folder, text = model
    loaded = load_model(folder)
    rows = text_rows(loaded, text, WINDOW, WINDOW)
    before = np.array(loaded.model(mx.array(rows[:, :-1])))
    without = loss_without(loaded.model, rows, loaded.name, [1])
    after = np.array(loaded.model(mx.array(rows[:, :-1])))
    assert (before == after).all()
    assert np.isfinite(without)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="window"):
        InfluenceConfig(window=1)


def test_the_command_writes_a_run(model, tmp_path):
    folder, text = model
    out = tmp_path / "run"
    words = ("--with-activations", "--text", text, "--tokens", 20, "--window", 10, "--removal")
    said = invoke("similar-layers", folder, *words, "--device", "cpu", "--out", out)
    assert said.exit_code == 0, said.output
    assert "no layer of 3 copies another" in said.stdout
    assert "Block influence on 20 tokens" in said.stdout
    assert "that needs activations" not in said.stdout
    meta = json.loads((out / "run_meta.json").read_text("utf-8"))
    assert meta["kind"] == "similar-layers"
    assert meta["metrics"]["layers"] == 3
    assert set(meta["outputs"]) == {"pairs.csv", "report.html", "result.json"}
    page = (out / "report.html").read_text("utf-8")
    assert "Block influence" in page
    assert "<script" not in page
    shown = invoke("runs", "show", out, "--json", MLX_PROBE_CATALOG=str(tmp_path / "catalog"))
    assert json.loads(shown.stdout)["kind"] == "similar-layers"
