"""examples/train_one_file.py makes the same steps as `mlx-probe train`."""

import importlib.util
import json

import pytest
from project import ROOT

from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
from mlx_probe.lab.data.tokenize import tokenize
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.train.config import Recipe, SnapshotConfig, TrainConfig
from mlx_probe.lab.train.train import train

EXAMPLE = ROOT / "examples" / "train_one_file.py"
# Other parts are compiled together, and the library orthogonalizes all matrices of a shape at once:
# single sums are rounded otherwise, by a unit in the last place from the third step on. Steps of
# such a size enlarge that in the norm of the gradient more than in the loss.
SAME = {"step": 0, "train_loss": 1e-6, "grad_norm": 1e-5, "val_loss": 1e-6, "val_bpb": 1e-6}


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("train_one_file", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_one_page_of_300_lines_at_most_and_needs_nothing_of_ours():
    text = EXAMPLE.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    assert "import mlx_probe" not in text
    assert "from mlx_probe" not in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sentencepiece", "bytes"])
def test_the_losses_are_those_of_the_library(kind, example, tmp_path):
    words = ["heavy", "tail", "spectrum", "rank", "naïve", "matrix", "weights", "of", "the", "a"]
    for document in range(12):
        lines = (
            " ".join(words[(document * i + j * j + i) % len(words)] for j in range(9))
            for i in range(40)
        )
        (tmp_path / f"{document}.txt").write_text("\n".join(lines), "utf-8")
    sources = tuple(str(path) for path in sorted(tmp_path.glob("*.txt")))
    tokens = tmp_path / "tokens"
    tokenize(
        DataConfig(sources, document="file", validation=0.2), TokenizerConfig(kind), 300, tokens
    )
    model = ModelConfig(
        dim=32, layers=2, heads=4, kv_heads=2, hidden=48, vocabulary=300, context=16, qk_norm=True
    )
    config = TrainConfig(
        steps=24, batch=4, learning_rate=6e-3, muon_learning_rate=1e-2, weight_decay=0.1,
        schedule="linear", warmup=5, final=0.1, evaluate_every=12, checkpoint_every=24, seed=3,
    )  # fmt: skip
    recipe = Recipe(model=model, train=config, snapshots=SnapshotConfig(per_decade=0))
    train(recipe, tmp_path / "run", data=[tokens], device="cpu")
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()

    same = {
        **{name: getattr(model, name) for name in ("dim", "layers", "heads", "kv_heads", "hidden")},
        "context": model.context,
        **{
            name: getattr(config, name)
            for name in (
                *("steps", "batch", "warmup", "evaluate_every", "seed", "learning_rate"),
                *("muon_learning_rate", "weight_decay", "final", "clip"),
            )
        },
    }
    options = [word for name, value in same.items() for word in (f"--{name}", str(value))]
    _, found = example.train(example.arguments.parse_args([str(tokens), *options]))

    expected = [json.loads(line) for line in metrics][1:]
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=SAME[name]), (ours["step"], name)
    # Both learn: equal losses of weights that stay where they are would prove nothing.
    assert found[-1]["train_loss"] < 0.8 * found[0]["train_loss"]
