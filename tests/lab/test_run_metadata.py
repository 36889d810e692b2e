"""Commands that are no job leave run_meta.json too, and what they write is as good as before."""

import json
import shutil

import made_runs
import mlx.core as mx
import pytest
from bfcl_folder import write_lines, write_prepared
from lora_adapters import peft_adapter
from models import invoke, refuses
from tiny_llm import TEXTS, make_model, make_tokenizer

from mlx_probe.lab.generate.folder import find_model_folder
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.runs.experiments import find_markers, read_experiment
from mlx_probe.runs.outputs import verify_hashes

RIGHT = '{"name": "weather", "arguments": {"city": "Paris"}}'


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A run of each command, by the command line."""
    root = tmp_path_factory.mktemp("kinds")
    with mx.stream(mx.cpu):
        model = make_model(root / "model", make_tokenizer(root / "tokenizer"))
        peft_adapter(root / "adapter", model)
    text = root / "text.txt"
    text.write_text("\n\n".join(TEXTS), "utf-8")
    answers = write_lines(root / "answers.jsonl", [{"id": "a", "text": RIGHT}])
    calls = write_prepared(root / "calls")
    copies = ("moe", "graft", model, "--form", "copy", "--experts", 3, "--no-run")
    commands = (
        ("merge", model, root / "adapter", "--out", root / "merged"),
        ("moe", "graft", model, "--experts", 2, "--data", text, "--tokens", 8, "--out",
         root / "grafted"),
        (*copies, "--out", root / "copies"),
        ("moe", "prune", root / "copies", "--keep", 2, "--by", "random", "--no-run", "--out",
         root / "pruned"),
        ("moe", "merge", root / "copies", "--keep", 2, "--no-run", "--out", root / "averaged"),
        ("export", model, "--to", "gguf", "--out", root / "files" / "m.gguf"),
        ("evaluate", model, "--data", text, "--max-tokens", 48, "--out", root / "perplexity"),
        ("evaluate", "--task", "function-calls", "--data", calls, "--predictions", answers,
         "--out", root / "answered"),
    )  # fmt: skip
    for command in commands:
        result = invoke(*command, "--quiet")
        assert result.exit_code == 0, result.output
    return root


KINDS = {
    "answered": "evaluate",
    "averaged": "moe-merge",
    "copies": "graft",
    "files": "export",
    "grafted": "graft",
    "merged": "merge",
    "perplexity": "evaluate",
    "pruned": "moe-prune",
}


def test_each_is_found_and_read(root):
    runs = {run.folder.name: run for run in map(read_experiment, find_markers(root))}
    assert {name: run.kind for name, run in runs.items()} == KINDS
    for name, run in runs.items():
        assert (run.state, run.reason) == ("finished", "")
        assert run.command[0] == "mlx-probe"
        assert str(run.folder) in " ".join(run.command), name
        assert run.working_folder
        assert run.inputs, name
        assert run.seconds > 0, name
        meta = json.loads(run.marker.read_text("utf-8"))
        assert meta["environment"]["packages"]["numpy"]
        whole = {file: each for file, each in meta["outputs"].items() if "sha256" in each}
        assert whole, name
        assert all(check.passed for check in verify_hashes(run.folder, {"outputs": whole})), name


def test_inputs_and_outputs_join_runs(root):
    runs = {run.folder.name: run for run in map(read_experiment, find_markers(root))}
    assert runs["copies"].outputs == (str(root / "copies"),)
    assert [each.path for each in runs["pruned"].inputs] == [str(root / "copies")]
    assert {each.role: each.path for each in runs["merged"].inputs} == {
        "base": str(root / "model"),
        "adapter": str(root / "adapter"),
    }
    assert runs["files"].outputs == (str(root / "files" / "m.gguf"),)
    assert runs["files"].marker.name == "m.gguf.run_meta.json"
    assert runs["perplexity"].outputs == ()


def test_numbers(root):
    runs = {run.folder.name: run for run in map(read_experiment, find_markers(root))}
    results = json.loads((root / "perplexity" / "results.json").read_text("utf-8"))
    assert runs["perplexity"].metrics["perplexity"] == results["perplexity"]
    assert runs["perplexity"].config["task"] == "perplexity"
    receipt = json.loads((root / "grafted" / "graft_receipt.json").read_text("utf-8"))
    for name in ("loss_before", "loss_after", "max_logit_difference"):
        assert runs["grafted"].metrics[name] == receipt[name]
    assert {"loss_after", "tokens"}.isdisjoint(runs["copies"].metrics)
    assert runs["pruned"].metrics["experts"] == 2
    judged = json.loads((root / "answered" / "results.json").read_text("utf-8"))["metrics"]
    whole = runs["answered"].metrics
    assert whole["all_together"] == judged["all_together"]["value"]
    assert all(name in whole for name, each in judged.items() if each["value"] is not None)


def test_models_are_opened_as_before(root):
    for name in ("merged", "grafted", "pruned", "averaged"):
        with mx.stream(mx.cpu):
            loaded = load_model(str(root / name), by_mlx_lm=True)
        assert loaded.folder == root / name
        assert find_model_folder(str(root / name / "run_meta.json")) == root / name
    # The folder of a model is a model for the engine, not a run.
    assert invoke("inspect", root / "merged").exit_code == 0


@pytest.mark.parametrize("name", ["grafted", "perplexity", "answered"])
@pytest.mark.parametrize(
    "command", [("validate",), ("findings",), ("compare-runs",), ("report", "--terminal")]
)
def test_no_table_is_taken_from_them(root, command, name):
    result = invoke(*command, root / name / "run_meta.json")
    said = refuses(result, str(root / name), code=result.exit_code or -1)
    assert any(word in said for word in ("measures no weights", "evaluation", "page of its own"))


def test_a_query_leaves_them_out(root, tmp_path):
    for name in KINDS:
        shutil.copytree(root / name, tmp_path / "runs" / name)
    made_runs.store(tmp_path / "runs" / "measured", made_runs.layers(1))
    result = invoke("query", "select count(*) as n from runs", "--runs", tmp_path / "runs")
    assert result.exit_code == 0, result.output
    assert result.stdout.split()[-1] == "1"


def test_another_run_is_not_hidden(root, tmp_path):
    text = ("--data", root / "text.txt")
    before = (root / "merged" / "run_meta.json").read_bytes()
    refused = invoke("evaluate", root / "model", *text, "--out", root / "merged")
    refuses(refused, "holds a run of `mlx-probe merge`")
    assert (root / "merged" / "run_meta.json").read_bytes() == before
    refuses(
        invoke("load-test", "127.0.0.1:1", "--out", root / "perplexity"),
        "holds a run of `mlx-probe evaluate`",
    )
    refused = invoke("evaluate", root / "model", *text, "--out", root / "answered")
    refuses(refused, "another task", code=refused.exit_code or -1)
    training = tmp_path / "training"
    training.mkdir()
    for name in ("metrics.jsonl", "recipe.yaml"):
        (training / name).write_text("{}", "utf-8")
    refused = invoke("evaluate", root / "model", *text, "--out", training)
    refuses(refused, "holds a run of `mlx-probe train`")
