"""From a graft to a mixture whose gates are trained: the result, and the same bits after a stop."""

import io
import json
import shutil

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from rich.console import Console
from safetensors.numpy import load_file, save_file

from mlx_probe.core.errors import ConfigError, ProbeError, ResultError
from mlx_probe.lab.about.card import model_card
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.moe.graft import GraftConfig, graft_model
from mlx_probe.lab.moe.train.config import MixtureRecipe
from mlx_probe.lab.moe.train.train import train_mixture
from mlx_probe.lab.settings import read_settings
from mlx_probe.lab.train.step import TrainStep

FAMILIES = ("llama", "qwen3")
IDS = [[3, 17, 200, 5, 91, 44, 260, 8, 12, 301, 77, 150]]
SMALL = (
    "train.context=16", "batch=2", "steps=4", "warmup=1", "evaluate_every=2", "learning_rate=1e-2",
    "checkpoint_every=2", "document=paragraph", "begin_tokens=64", "data.workers=1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def on_cpu():
    before = mx.default_device()
    mx.set_default_device(mx.cpu)
    yield
    mx.set_default_device(before)


def recipe(*changes):
    return read_settings(MixtureRecipe, None, [*SMALL, *changes])


@pytest.fixture(scope="module")
def grafts(dense, tmp_path_factory):
    """Sums of 4 experts of both families."""
    root = tmp_path_factory.mktemp("grafts")
    for family in FAMILIES:
        config = GraftConfig(experts=4, run=False)
        graft_model(str(getattr(dense, family)), root / family, config)
    text = root / "text.txt"
    text.write_text("\n\n".join(f"To be, or not to be, number {n}?" for n in range(60)), "utf-8")
    return root


@pytest.fixture(scope="module")
def trained(dense, grafts, tmp_path_factory):
    """Trains, once for each family and changes."""
    root, made = tmp_path_factory.mktemp("trained"), {}

    def train(family, *changes):
        if (family, changes) not in made:
            made[family, changes] = train_mixture(
                recipe(*changes), grafts / family, root / f"{len(made)}",
                teacher=getattr(dense, family), data=[grafts / "text.txt"], device="cpu",
            )  # fmt: skip
        return made[family, changes]

    return train


def weights(folder):
    return {
        name: array
        for path in sorted(folder.glob("*.safetensors"))
        for name, array in load_file(path).items()
    }


def logits(folder, **settings):
    return np.array(load_model(folder, **settings).model(mx.array(IDS)))


def in_transformers(folder):
    import torch
    from transformers import AutoModelForCausalLM

    model, found = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    with torch.no_grad():
        return model.eval()(torch.tensor(IDS)).logits.numpy()


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", ("gate.kind=topk", "active=2")),
        ("qwen3", ("gate.kind=topk", "active=3", "learn=all")),
        ("qwen3", ("gate.kind=topk", "scale=mean")),
    ],
)
def test_stock_routers_are_stock_checkpoints(trained, family, changes):
    run = trained(family, *changes)
    model, _ = mlx_lm("utils").load_model(run.folder / "model")
    stock = np.array(model(mx.array(IDS)))
    np.testing.assert_allclose(in_transformers(run.folder / "model"), stock, atol=2e-5)
    config = json.loads((run.folder / "model" / "config.json").read_text())
    assert config["num_experts_per_tok"] == run.meta["active"]
    assert config["model_type"] == run.meta["stock"]
    np.testing.assert_allclose(logits(run.folder), stock, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("learn", ["router", "experts"])
def test_dynamic_gates_run_here_and_nowhere_else(trained, family, learn):
    run = trained(family, f"learn={learn}")
    model = run.folder / "model"
    loaded = load_model(run.folder)
    assert loaded.runs_by == "mlx-probe"
    with pytest.raises(ValueError, match="not supported"):
        mlx_lm("utils").load_model(model)
    with pytest.raises(ValueError, match="does not recognize this architecture"):
        in_transformers(model)
    # What is on disk says the same as what was trained: the last evaluation's loss.
    again = train_mixture(
        recipe("gate.kind=dynamic", "begin=model", "steps=1", "distillation=0"),
        model, run.folder.parent / f"again-{family}-{learn}",
        data=[run.folder / "data"],
    )  # fmt: skip
    assert again.meta["given"]["val_loss"] == pytest.approx(run.meta["final"]["val_loss"], rel=1e-6)
    assert again.meta["initial"]["val_loss"] == again.meta["given"]["val_loss"]
    assert again.meta["dense"] is None


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_router_is_learned(trained, grafts, family):
    before = weights(grafts / family)
    dynamic = weights(trained(family, "learn=router").folder / "model")
    gates = {name for name in dynamic if name.endswith(("prototypes", "thresholds"))}
    assert len(gates) == 4
    kept = dynamic.keys() - gates
    assert kept == {name for name in before if not name.endswith(".gate.weight")}
    assert all(np.array_equal(dynamic[name], before[name]) for name in kept)
    topk = weights(trained("llama", "gate.kind=topk", "active=2").folder / "model")
    for name, array in weights(grafts / "llama").items():
        # K / F = 2 / 4: the scale of parts is in the down projections.
        scale = 0.5 if name.endswith(".w2.weight") else 1
        if not name.endswith(".gate.weight"):
            assert np.array_equal(topk[name], array * np.float32(scale)), name


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_run_says(trained, grafts, family):
    run = trained(family, "learn=router")
    meta = run.meta
    assert run.passed
    assert meta["kind"] == "moe-train"
    # The sum form says what the dense model says.
    assert meta["given"]["val_loss"] == pytest.approx(meta["dense"]["val_loss"], abs=1e-5)
    assert meta["initial"]["val_loss"] != meta["given"]["val_loss"]
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines[1:]:
        assert 1 <= line["active_min"] <= line["active_mean"] <= line["active_max"] <= 4
        assert 0 <= line["fallback"] <= 1
        assert line["objective"] == pytest.approx(
            line["teacher_kl"] + 0.1 * line["train_loss"], rel=1e-5
        )
    described = json.loads((run.folder / "active_experts.json").read_text())
    import pyarrow.parquet as parquet

    table = parquet.read_table(run.folder / "active_experts.parquet").to_pandas()
    assert len(table) == described["tokens"] * described["layers"]
    assert table["active"].mean() == pytest.approx(described["mean"])
    assert table["fallback"].mean() == pytest.approx(described["fallback"])
    for layer in described["by_layer"]:
        of_layer = table[table["layer"] == layer["layer"]]["active"]
        counts = np.bincount(of_layer, minlength=5)
        assert counts.tolist() == layer["tokens_by_active"]
    first = table[(table["position"] == 0) & (table["layer"] == 1)]
    assert first["active"].mean() == pytest.approx(described["by_position"][0]["mean_by_layer"][1])
    assert meta["active_experts"]["mean"] == described["mean"]
    assert meta["learned_parameters"] == 2 * (4 * 32 + 4)


@pytest.mark.parametrize("gate", ["dynamic", "topk"])
def test_its_card(trained, dense, gate):
    changes = ("gate.kind=topk", "active=2") if gate == "topk" else ("learn=router",)
    text = model_card(str(trained("llama", *changes).folder)).text
    assert "mlx-probe moe train" in text
    assert f"| Gates | {gate} |" in text
    assert str(dense.llama.name) in text
    # mlx-lm loads the stock one alone.
    assert ("from mlx_lm import" in text) == (gate == "topk")
    assert ("mlx-probe generate PATH" in text) == (gate == "dynamic")


def results_of(run):
    """Every byte that has to be the same after an interruption."""
    names = ["active_experts.json", "active_experts.parquet", *(run / "model").iterdir()]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds", None), line.pop("tokens_per_second", None)
    return {str(name).removeprefix(str(run)): (run / name).read_bytes() for name in names}, lines


class Killed(BaseException):
    """What a test kills a run with: nothing in the program expects it."""


@pytest.mark.parametrize(
    ("call", "changes"),
    [(2, ("learn=router",)), (4, ("learn=experts",)), (4, ("gate.kind=topk", "active=2"))],
)
def test_killed_runs_go_on_with_the_same_bits(
    trained, dense, grafts, tmp_path, monkeypatch, call, changes
):
    wanted = trained("llama", *changes)
    make, count = TrainStep.__call__, 0

    def dies(self, *arguments):
        nonlocal count
        count += 1
        if count == call:
            raise Killed
        return make(self, *arguments)

    def run():
        return train_mixture(
            recipe(*changes), grafts / "llama", tmp_path / "run", teacher=dense.llama,
            data=[grafts / "text.txt"], device="cpu",
        )  # fmt: skip

    with monkeypatch.context() as patched:
        patched.setattr(TrainStep, "__call__", dies)
        with pytest.raises(Killed):
            run()
    assert results_of(run().folder) == results_of(wanted.folder)
    assert run().meta["created_at"] == run().meta["created_at"]


def test_other_settings_need_another_folder(trained, dense, grafts):
    run = trained("llama", "learn=router")
    with pytest.raises(ResultError, match="finished run"):
        train_mixture(
            recipe("seed=1"), grafts / "llama", run.folder, teacher=dense.llama,
            data=[grafts / "text.txt"],
        )  # fmt: skip


def test_views_of_a_run(trained):
    """It is checked and drawn as a training is; what is no training refuses it."""
    import mlx_probe
    from mlx_probe.analysis.validate import validate
    from mlx_probe.report.html.write import write_report
    from mlx_probe.report.terminal.training import training_text
    from mlx_probe.report.training_data import load_training_data
    from mlx_probe.runs.training.run import load_training_run

    run = trained("llama", "learn=router")
    assert [check for check in validate(run.folder) if not check.passed] == []
    read = load_training_run(run.folder)
    assert (read.kind, read.state, read.steps_done) == ("moe-train", "finished", 4)
    assert not read.is_tuning
    page = write_report(run.folder).read_text()
    assert "training of a mixture" in page
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(training_text(load_training_data([run.folder]), [], 100, "utf-8"))
    shown = console.export_text()
    used = run.meta["active_experts"]
    assert f"{used['mean']:.2f} of 4 in the mean" in shown
    assert f"{run.meta['dense']['val_loss']:.4f} nats/token" in shown
    assert "teacher_kl" in shown
    assert "teacher_kl" in page
    with pytest.raises(ResultError, match="training run"):
        mlx_probe.findings(run.folder)


@pytest.fixture
def refuse(dense, grafts, tmp_path):
    def refuse(says, *changes, model=None, teacher=dense.llama, data=None):
        out = tmp_path / "refused"
        with pytest.raises(ProbeError) as refusal:
            train_mixture(
                recipe(*changes), model or grafts / "llama", out, teacher=teacher,
                data=[data or grafts / "text.txt"], device="cpu",
            )  # fmt: skip
        assert says in refusal.value.fact
        assert refusal.value.remedy
        assert not (out / "model").exists()
        return refusal.value

    return refuse


def test_what_is_refused(refuse, dense, grafts, tmp_path):
    refuse("is of type 'llama', no mixture", model=dense.llama)
    refuse("another tokenizer", teacher=_other_tokenizer(dense, tmp_path))
    refuse("there is no teacher", teacher=None)
    short = tmp_path / "short.txt"
    short.write_text("To be, or not to be.\n\nThat is the question.\n\nWhether 'tis nobler?")
    refuse("fewer than one sequence", "train.context=40", data=short)
    refuse("fewer than train.batch = 80", "batch=80")
    refuse("was trained on 48", "train.context=64")
    refuse("has 4 experts", "gate.kind=topk", "active=5")
    refuse("prefers no expert", "gate.kind=topk", "begin=model")
    refuse("has topk gates, not dynamic ones", "begin=model")
    plain = shutil.copytree(grafts / "llama", tmp_path / "plain")
    (plain / "graft_receipt.json").unlink()
    refuse("parts of a block", "scale=parts", model=plain)
    shutil.copytree(grafts / "qwen3", tmp_path / "weighed")
    config = tmp_path / "weighed" / "config.json"
    config.write_text(
        config.read_text().replace('"norm_topk_prob": true', '"norm_topk_prob": false')
    )
    refuse("do not add up to 1", model=tmp_path / "weighed", teacher=dense.qwen3)


def test_a_teacher_with_other_rows(refuse, dense, tmp_path):
    folder, name = shutil.copytree(dense.llama, tmp_path / "rows"), "model.embed_tokens.weight"
    tensors = weights(folder)
    tensors[name] = np.concatenate([tensors[name], tensors[name][:3]])
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    more = {**config, "vocab_size": len(tensors[name]), "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(more))
    refuse("tokens, and", teacher=folder)


def test_quantized_experts_are_refused(refuse, grafts, tmp_path):
    model, config = mlx_lm("utils").load_model(grafts / "llama")
    quantized, config = mlx_lm("utils").quantize_model(model, config, 32, 8)
    mlx_lm("utils").save_model(tmp_path / "packed", quantized)
    for path in (grafts / "llama").glob("*.json"):
        shutil.copy(path, tmp_path / "packed")
    (tmp_path / "packed" / "config.json").write_text(json.dumps(config))
    refuse("are quantized", model=tmp_path / "packed")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("gate.active=2",), "gate.kind is dynamic"),
        (("distillation=0", "language=0"), "nothing is learned"),
        (("optimizer=muon",), "train.optimizer"),
        (("open=1",), "gate.open"),
        (("gradient_checkpointing=true",), "train.gradient_checkpointing"),
    ],
)
def test_settings_without_meaning(changes, says):
    with pytest.raises(ConfigError, match=says):
        recipe(*changes)


def _other_tokenizer(dense, folder):
    """The same model with another tokenizer of as many tokens."""
    copy = shutil.copytree(dense.llama, folder / "spoken")
    path = copy / "tokenizer.json"
    text = path.read_text("utf-8")
    path.write_text(text.replace("<|im_end|>", "<|im_over|>"), "utf-8")
    assert path.read_text("utf-8") != text
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (copy / name).exists():
            other = (copy / name).read_text("utf-8").replace("<|im_end|>", "<|im_over|>")
            (copy / name).write_text(other, "utf-8")
    return copy
