"""Models, runs and a catalog with a bit of everything, for the tests of --json."""

import json
import shutil

import backup_commands
import numpy as np
import pytest
from bfcl_folder import RIGHT, write_bfcl, write_lines, write_prepared
from environments import write_template
from experiment_runs import analysis
from lora_adapters import peft_adapter
from mixture_runs import make_stats
from models import invoke
from pairs import saved
from planned import planned_server
from project import ROOT
from tiny_llm import TEXTS, make_model, make_tokenizer
from tool_data import write_xlam
from tuning import write_data


@pytest.fixture(scope="module")
def server():
    with planned_server.running() as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def places(stored, trained, server, workplace, tmp_path_factory):
    """Models, runs and a catalog with a bit of everything, for all commands."""
    root = tmp_path_factory.mktemp("json")
    word = "model.layers.0.mlp.up_proj.weight"
    values = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    model = saved(root / "models" / "plain", {word: values, "model.norm.weight": values[0]})
    saved(root / "models" / "copy", {word: values, "model.norm.weight": values[0]})
    saved(root / "models" / "base", {word: 2 * values})
    saved(root / "models" / "other", {word: 3 * values})
    # MLX quantizes rows of 64.
    wide = saved(root / "wide", {word: np.ones((2, 64), np.float32)})
    expert = "model.layers.0.mlp.experts.{}.{}_proj.weight"
    mixture = saved(
        root / "mixture",
        {
            expert.format(i, kind): values if kind == "down" else values.T.copy()
            for i in range(3)
            for kind in ("gate", "up", "down")
        },
        {"model_type": "qwen3_moe", "hidden_size": 12},
    )
    strange = saved(
        root / "strange",
        {"x.weight": (np.ones((8, 8), np.uint8), "U8"), word: values},
        {"model_type": "llama", "quantization_config": {"quant_method": "of_tomorrow"}},
    )
    broken = root / "broken"
    shutil.copytree(stored.runs / "base", broken)
    table = broken / "params.csv"
    table.write_text(table.read_text().replace("q_proj", "x_proj", 1))
    catalog = {"MLX_PROBE_CATALOG": str(root / "catalog.sqlite")}
    downloaded, damaged = root / "downloaded", root / "damaged"
    for folder in (downloaded, damaged):
        assert invoke("download", model, "--local-dir", folder, "-q").exit_code == 0
    weights = damaged / "model.safetensors"
    content = bytearray(weights.read_bytes())
    weights.unlink()  # a link: the original stays as it is
    content[-1] ^= 1
    weights.write_bytes(content)
    text = root / "text.txt"
    text.write_text("\n\n".join(TEXTS))
    lm = make_model(root / "lm", make_tokenizer(root / "tokenizer"))
    scanned = invoke("catalog", "scan", root / "models", "--runs", stored.runs, **catalog)
    assert scanned.exit_code == 0, scanned.output
    unwanted = analysis(root / "unwanted" / "run")
    scanned = invoke("runs", "scan", stored.runs, root / "unwanted", **catalog)
    assert scanned.exit_code == 0, scanned.output
    peft_adapter(root / "adapter", lm)
    assert invoke("moe", "graft", lm, "--no-run", "--out", root / "graft").exit_code == 0
    words = ("--form", "copy", "--experts", "3", "--no-run", "--out", root / "copies")
    assert invoke("moe", "graft", lm, *words).exit_code == 0
    texts = root / "texts.txt"
    texts.write_text("".join(f"What is written in line {n}?\n\n" for n in range(500)), "utf-8")
    answers = write_lines(
        root / "answers.jsonl",
        [{"id": name, "text": text} for name, text in {**RIGHT, "a": "no"}.items()],
    )
    answer = planned_server.chunk(content="a") + planned_server.event("[DONE]")
    sweep = root / "sweep.yaml"
    words = f"command: analyze '{model}' --workers 1\nmetric: rows\ndirection: max\n"
    sweep.write_text(words + "parameters: {--metrics: [basic, none]}\n")
    plans = root / "plans.jsonl"
    prompt = planned_server.Plan("json").send(0.0, answer).prompt()
    plans.write_text(json.dumps({"prompt": prompt}))
    started = invoke("docs", "init", root / "project", "--lang", "en", **catalog)
    assert started.exit_code == 0, started.output
    return {
        "project": root / "project", "page": ROOT / "notebooks" / "00_setup.ipynb",
        **backup_commands.make_archives(root),
        "server": server, "plans": plans, "sweep": sweep,
        "envs": workplace.folder,
        "bare": write_template(root / "bare.yaml", requirements=[], check=[]),
        "calls": write_prepared(root / "calls"), "bfcl": write_bfcl(root / "bfcl"),
        "answers": answers, "xlam": write_xlam(root / "xlam.jsonl"),
        "texts": texts, "talks": write_data(root / "talks"), "root": root,
        "statistics": make_stats(root / "statistics"),
        "model": model, "mixture": mixture, "copies": root / "copies",
        "strange": strange, "broken": broken,
        "runs": stored.runs, "trained": trained, "unwanted": unwanted,
        "downloaded": downloaded, "damaged": damaged, "nothing": root / "nothing" / "here",
        "lm": lm, "graft": root / "graft", "adapter": root / "adapter", "text": text,
        "recipe": ROOT / "configs" / "train" / "tiny.yaml", "wide": wide,
        "environment": {
            **catalog,
            "MLX_PROBE_LANG": "zh",
            "MLX_PROBE_DATA": str(root / "kept"),
        },
    }  # fmt: skip
