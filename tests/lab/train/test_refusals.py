import json
import shutil
from dataclasses import replace

import mlx.core as mx
import pytest
from training import RECIPE, metrics_of, recipe_with, results_of, write_tokens

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.core.errors import CheckpointError, ConfigError, Interrupted, ProbeError, ResultError
from mlx_probe.core.files import sha256_file
from mlx_probe.lab.train.checkpoint import checkpoint_folders, read_checkpoint
from mlx_probe.lab.train.loop import Diverged
from mlx_probe.lab.train.progress import Silent
from mlx_probe.lab.train.train import train

pytestmark = pytest.mark.slow
BASIC = AnalyzeConfig(backend="numpy", metrics="basic", workers=1, save_spectra=False)


class Stopping(Silent):
    """Ends the run with an error of its own after a step; keeps what it says."""

    def __init__(self, at_step):
        self.at_step, self.alerts = at_step, []

    def step(self, metrics):
        if metrics["step"] == self.at_step:
            raise Interrupted("stopped by the test", "")

    def alert(self, text, is_warning):
        self.alerts.append(text)


@pytest.fixture
def interrupted(tokens, tmp_path):
    """A run that ended after step 7, with checkpoints of steps 6 and 7."""
    with pytest.raises(Interrupted):
        train(RECIPE, tmp_path, data=[tokens], device="cpu", progress=Stopping(7))
    return tmp_path


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_damaged_checkpoint_gives_way_to_the_one_before(interrupted, tokens, undisturbed, file):
    path = interrupted / "checkpoints" / "step-7" / file
    if file == "state.json":
        path.write_text("{")
    else:
        damage(path)
    progress = Stopping(None)
    train(RECIPE, interrupted, data=[tokens], device="cpu", progress=progress)
    assert any("step-7" in text and "goes on from step-6" in text for text in progress.alerts)
    assert results_of(interrupted) == undisturbed


def test_no_whole_checkpoint_is_refused(interrupted, tokens):
    for folder in checkpoint_folders(interrupted / "checkpoints"):
        damage(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"has no whole checkpoint: .*is damaged"):
        train(RECIPE, interrupted, data=[tokens], device="cpu")
    # Nothing is lost: a checkpoint from a backup would be used.
    assert len(checkpoint_folders(interrupted / "checkpoints")) == 2


def test_checkpoint_with_nan_is_refused(interrupted):
    folder = interrupted / "checkpoints" / "step-7"
    path = folder / "model.safetensors"
    weights = mx.load(str(path))
    weights["model.norm.weight"] = weights["model.norm.weight"] * float("nan")
    mx.eval(weights)
    mx.save_safetensors(str(path), weights)
    state = json.loads((folder / "state.json").read_text())
    state["hashes"]["model.safetensors"] = sha256_file(path)
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight has NaN or infinity"):
        read_checkpoint(folder)


def test_changed_settings_are_refused_by_their_names(interrupted, tokens):
    changed = recipe_with(learning_rate=0.01, seed=4)
    with pytest.raises(ResultError) as raised:
        train(changed, interrupted, data=[tokens], device="cpu")
    fact = str(raised.value)
    assert "train.learning_rate: 0.003, now 0.01" in fact
    assert "train.seed: 0, now 4" in fact
    assert "--out" in fact


def test_settings_that_change_no_number_may_change(interrupted, tokens, undisturbed):
    changed = recipe_with(keep=1, checkpoint_every=5)
    train(changed, interrupted, data=[tokens], device="cpu")
    assert results_of(interrupted) == undisturbed
    assert [path.name for path in (interrupted / "checkpoints").iterdir()] == ["step-12"]


def test_changed_tokens_are_refused(tmp_path):
    tokens = write_tokens(tmp_path)
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(RECIPE, run, data=[tokens], device="cpu", progress=Stopping(4))
    tokens.rename(tmp_path / "before")
    write_tokens(tmp_path, begin=2_000)
    with pytest.raises(ResultError, match="was trained on other tokens"):
        train(RECIPE, run, data=[tokens], device="cpu")


def test_text_that_changed_is_refused(tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes((write_tokens(tmp_path).parent / "text.txt").read_bytes())
    recipe = replace(RECIPE, data=replace(RECIPE.data, document="paragraph", workers=1))
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(recipe, run, data=[text], device="cpu", progress=Stopping(4))
    text.write_text(text.read_text() + "\n\nOne more paragraph.\n")
    with pytest.raises(ProbeError, match=r"text\.txt"):
        train(recipe, run, data=[text], device="cpu")


def test_a_first_try_that_did_not_train_is_no_obstacle(tmp_path, tokens):
    run = tmp_path / "run"
    with pytest.raises(ProbeError, match="does not exist"):
        train(recipe_with(seed=1), run, data=[tmp_path / "typo.txt"], device="cpu")
    (run / "notes.md").write_text("mine")
    short = recipe_with(steps=1, warmup=0, sample_every=0)
    train(short, run, data=[tokens], device="cpu")
    assert (run / "notes.md").read_text() == "mine"
    assert not list(run.glob("*.partial.jsonl*"))
    # Without samples there is no file of samples.
    assert not (run / "samples.jsonl").exists()
    with pytest.raises(ResultError, match="holds a finished run"):
        train(recipe_with(seed=1), run, data=[tokens], device="cpu")


def test_number_that_is_not_finite_ends_the_run_with_good_weights(tmp_path, tokens):
    recipe = recipe_with(muon_learning_rate=1e30, learning_rate=1e20, warmup=0)
    for _ in range(2):  # the same command meets the same end
        with pytest.raises(Diverged, match=r"step 2: the (loss|gradient norm) is") as raised:
            train(recipe, tmp_path, data=[tokens], device="cpu")
        assert "learning_rate" in raised.value.remedy
        (folder,) = (tmp_path / "checkpoints").iterdir()
        assert folder.name == "step-1"
        assert read_checkpoint(folder).state.step == 1
        assert [line["step"] for line in metrics_of(tmp_path)] == [0, 1]


def test_files_of_the_user_stay(tmp_path, tokens):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine")
    # Again and again: a start that was refused is not one to go on from.
    for overwrite in (False, True, True, False):
        with pytest.raises(ResultError):
            train(RECIPE, tmp_path, data=[tokens], device="cpu", overwrite=overwrite)
    assert (tmp_path / "model" / "mine.txt").read_text() == "mine"


def test_a_recipe_and_texts_of_the_user_stay(tmp_path):
    text = tmp_path / "data" / "text.txt"
    text.parent.mkdir()
    write_tokens(text.parent)
    shutil.rmtree(text.parent / "tokens")
    (tmp_path / "recipe.yaml").write_text("# mine")
    recipe = replace(RECIPE, data=replace(RECIPE.data, document="paragraph", workers=1))
    for _ in range(2):
        with pytest.raises(ResultError, match=r"recipe\.yaml is not of a training run"):
            train(recipe, tmp_path, data=[text], device="cpu", overwrite=True)
    assert (tmp_path / "recipe.yaml").read_text() == "# mine"
    (tmp_path / "recipe.yaml").unlink()
    before = text.read_bytes()
    for _ in range(2):
        with pytest.raises(ResultError, match=r"data holds files that are not tokens: text\.txt"):
            train(recipe, tmp_path, data=[text], device="cpu", overwrite=True)
    assert text.read_bytes() == before


def test_a_run_in_the_folder_of_an_analysis(tiny, tmp_path, tokens):
    out = tmp_path / "out"
    mlx_probe.analyze(tiny, out=out, config=BASIC)
    with pytest.raises(ResultError, match="holds a finished run of `mlx-probe analyze`"):
        train(RECIPE, out, data=[tokens], device="cpu")
    with pytest.raises(Interrupted):
        train(RECIPE, out, data=[tokens], device="cpu", overwrite=True, progress=Stopping(3))
    # It goes when the run that replaces it is finished, and not before.
    assert all(check.passed for check in mlx_probe.validate(out))
    (out / "notes.txt").write_text("mine")
    assert train(RECIPE, out, data=[tokens], device="cpu").meta["kind"] == "train"
    assert not (out / "params.csv").exists()
    assert (out / "notes.txt").read_text() == "mine"


def test_no_analysis_replaces_a_training_run(interrupted, tiny, tokens):
    def refused(kept):
        before = {path: path.stat().st_mtime_ns for path in interrupted.rglob("*")}
        for overwrite in (False, True):
            for out in (interrupted, interrupted / "metrics.parquet"):
                with pytest.raises(ResultError, match="holds a training run, which `mlx-probe an"):
                    mlx_probe.analyze(tiny, out=out, config=BASIC, overwrite=overwrite)
        assert {
            p: t for p, t in before.items() if p.stat().st_mtime_ns != t or not p.exists()
        } == {}
        assert all((interrupted / name).exists() for name in kept)

    refused(("checkpoints/step-7/state.json", "recipe.yaml"))
    train(RECIPE, interrupted, data=[tokens], device="cpu")
    refused(("checkpoints/step-12/state.json", "model/model.safetensors", "run_meta.json"))
    # A table of another name is no danger, and neither is the folder of the model.
    beside = mlx_probe.analyze(interrupted / "model", out=interrupted / "final.csv", config=BASIC)
    assert beside.passed
    assert all(check.passed for check in mlx_probe.validate(interrupted))


def test_a_finished_run_that_is_being_replaced_is_not_finished(interrupted, tokens, undisturbed):
    train(RECIPE, interrupted, data=[tokens], device="cpu")
    progress = Stopping(2)
    with pytest.raises(Interrupted):
        train(RECIPE, interrupted, data=[tokens], device="cpu", overwrite=True, progress=progress)
    assert not (interrupted / "run_meta.json").exists()
    train(RECIPE, interrupted, data=[tokens], device="cpu")
    assert results_of(interrupted) == undisturbed


def test_a_run_goes_on_without_its_journal(interrupted, tokens, undisturbed):
    (journal,) = interrupted.glob("*.partial.jsonl")
    # As one of another version, with other columns.
    journal.write_text('{"journal": 1, "fingerprint": "", "columns": []}\n')
    train(RECIPE, interrupted, data=[tokens], device="cpu")
    assert results_of(interrupted) == undisturbed
    assert metrics_of(interrupted)[-1]["step"] == 12


def test_overwrite_replaces_another_run(interrupted, tokens, undisturbed):
    other = recipe_with(seed=4)
    progress = Stopping(2)
    with pytest.raises(Interrupted):
        train(other, interrupted, data=[tokens], device="cpu", overwrite=True, progress=progress)
    assert not checkpoint_folders(interrupted / "checkpoints")[1:]
    train(other, interrupted, data=[tokens], device="cpu")
    assert results_of(interrupted)["metrics"] != undisturbed["metrics"]
    assert not list(interrupted.glob("*.partial.jsonl"))


def test_patience_ends_the_run_early(tmp_path, tokens):
    # So small a rate changes nothing: no evaluation is better than the first.
    recipe = recipe_with(patience=2, learning_rate=1e-30, muon_learning_rate=1e-30)
    run = train(recipe, tmp_path, data=[tokens], device="cpu")
    assert run.meta["stopped_early"]
    assert (run.meta["steps_done"], run.meta["planned_steps"]) == (8, 12)
    assert run.meta["best"]["step"] == 0
    assert run.passed


def test_training_goes_on_from_a_model_or_a_checkpoint(interrupted, tokens, tmp_path_factory):
    weights = read_checkpoint(interrupted / "checkpoints" / "step-7").weights
    out = tmp_path_factory.mktemp("tuned")
    recipe = recipe_with(steps=1, warmup=0, accumulation=1)
    init = interrupted / "checkpoints" / "step-7"
    begun = train(recipe, out / "a", data=[tokens], init=init, device="cpu")
    again = train(recipe, out / "b", data=[tokens], init=begun.folder / "model", device="cpu")
    first = [metrics_of(run.folder)[0]["val_loss"] for run in (begun, again)]
    last = metrics_of(begun.folder)[-1]["val_loss"]
    assert len(weights) == 11
    assert first[1] == pytest.approx(last, rel=1e-6)
    assert first[0] != pytest.approx(metrics_of(interrupted)[0]["val_loss"], rel=1e-4)


def test_model_with_another_tokenizer_is_refused(interrupted, tmp_path_factory):
    other = write_tokens(tmp_path_factory.mktemp("other"), begin=4_000)
    init = interrupted / "checkpoints" / "step-7"
    out = tmp_path_factory.mktemp("out")
    with pytest.raises(ConfigError, match="has another tokenizer"):
        train(RECIPE, out, data=[other], init=init, device="cpu")
