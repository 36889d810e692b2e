"""`mlx-probe load-test` against a server with planned timings."""

import json
import subprocess
import sys

import pytest
from models import invoke, refuses
from planned import planned_server

from mlx_probe.runs.experiments import read_experiment

chunk, event, usage = planned_server.chunk, planned_server.event, planned_server.usage
# What `vllm bench serve --save-result --save-detailed` writes.
KEYS = {
    *("date", "endpoint_type", "backend", "label", "model_id", "tokenizer_id", "num_prompts"),
    *("request_rate", "burstiness", "max_concurrency", "duration", "completed", "failed"),
    *("total_input_tokens", "total_output_tokens", "request_throughput", "request_goodput"),
    *("output_throughput", "total_token_throughput", "input_lens", "output_lens", "ttfts", "itls"),
    *("latencies", "start_times", "queue_times", "generated_texts", "errors"),
    *("max_output_tokens_per_s", "max_concurrent_requests"),
    *(f"{k}_{n}_ms" for k in ("mean", "median", "std", "p99") for n in ("ttft", "tpot", "itl")),
}


@pytest.fixture(scope="module")
def port():
    with planned_server.running() as port:
        yield port


def write_plans(path, count, wait=0.005, counts=(11, 4), **settings):
    plans = []
    for number in range(count):
        plan = planned_server.Plan(f"{path.stem} {number}", **settings)
        for _ in range(3):
            plan.send(wait, chunk(content="word "), mark=True)
        plan.send(0, chunk(finish="stop"))
        plan.send(0, (usage(*counts) if counts else b"") + event("[DONE]"))
        plans.append(json.dumps({"prompt": plan.prompt()}))
    path.write_text("\n".join(plans))
    return path


def run(port, path, *options, code=0):
    result = invoke("load-test", f"127.0.0.1:{port}", "--dataset-path", path, "--json", *options)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_the_result_has_the_keys_of_vllm(port, tmp_path):
    path, out = write_plans(tmp_path / "keys.jsonl", 6), tmp_path / "result.json"
    options = ("--num-prompts", 12, "--max-concurrency", 3, "--num-warmups", 2)
    found = run(port, path, *options, "--save-result", out, "--goodput", "ttft:10000")
    assert set(found) >= KEYS
    assert json.loads(out.read_text()) == found
    assert (found["completed"], found["failed"], found["num_prompts"]) == (12, 0, 12)
    assert found["request_rate"] == "inf"
    assert found["model_id"] == "planned"
    assert found["max_concurrency"] == 3
    assert found["max_concurrent_requests"] <= 3
    assert found["total_input_tokens"] == 12 * 11
    assert found["output_lens"] == [4] * 12
    assert found["generated_texts"] == ["word word word "] * 12
    assert found["request_goodput"] == found["request_throughput"]
    assert found["mean_tpot_ms"] == pytest.approx(
        1000 * sum(e - t for e, t in zip(found["latencies"], found["ttfts"], strict=True)) / 36
    )
    small = run(port, path, "--num-prompts", 2, "--no-save-detailed")
    assert not {"ttfts", "itls", "errors", "generated_texts"} & set(small)
    assert small["mean_ttft_ms"] > 0


def test_a_rate_of_arrivals(port, tmp_path):
    path = write_plans(tmp_path / "rate.jsonl", 40)
    found = run(
        port, path, "--num-prompts", 40, "--request-rate", 80, "--percentile-metrics", "e2el"
    )
    starts = sorted(found["start_times"])
    assert 0.3 < starts[-1] - starts[0] < 0.9
    assert found["request_rate"] == 80
    assert "mean_ttft_ms" not in found
    assert found["p99_e2el_ms"] > 10


def test_a_sweep(port, tmp_path):
    path = write_plans(tmp_path / "sweep.jsonl", 4)
    limits = ("--num-prompts", 4, "--request-rate", 64, "--sweep")
    # No server is this fast, and every one is this slow.
    found = run(port, path, *limits, "--goodput", "ttft:0.001", "--sweep-target", 0.5)
    assert found["sweep"]["highest_rate"] is None
    assert len(found["sweep"]["steps"]) < 6
    shown = invoke(
        *("load-test", f"127.0.0.1:{port}", "--dataset-path", path, *limits),
        *("--goodput", "e2el:60000"),
    )
    assert "at every rate that was tried" in shown.stdout
    refuses(invoke("load-test", "127.0.0.1:1", "--sweep"), "needs a goodput", code=2)
    limited = ("--sweep", "--goodput", "ttft:9", "--max-concurrency", 2)
    refuses(invoke("load-test", "127.0.0.1:1", *limited), "no --max-concurrency", code=2)


def test_the_text_for_a_terminal(port, tmp_path):
    path = write_plans(tmp_path / "text.jsonl", 3, counts=None)
    text = invoke("load-test", f"127.0.0.1:{port}", "--dataset-path", path, "--num-prompts", 3)
    assert "3 completed, 0 failed" in text.stdout
    assert "unknown: the server sends no usage" in text.stdout
    assert "until the first token, ms" in text.stdout


@pytest.mark.parametrize("is_sweep", [False, True])
def test_reports(port, tmp_path, is_sweep):
    path = write_plans(tmp_path / f"report {is_sweep}.jsonl", 4)
    more = ("--sweep", "--goodput", "ttft:0.001", "--request-rate", 64) if is_sweep else ()
    page = tmp_path / "out" / "page.html"
    found = run(port, path, "--num-prompts", 4, *more, "--report", page)
    text = page.read_text("utf-8")
    assert text.count("<svg") == 1
    assert "<script" not in text
    assert f"{found['mean_ttft_ms']:,.2f}" in text
    assert ("At no rate" in text) == is_sweep


@pytest.mark.parametrize(
    ("suffix", "begin"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_images(port, tmp_path, suffix, begin):
    image = tmp_path / f"image{suffix}"
    path = write_plans(tmp_path / f"image {suffix}.jsonl", 2)
    run(port, path, "--num-prompts", 2, "--report", image, "--no-save-detailed")
    assert image.read_bytes().startswith(begin)


def test_a_report_of_an_unknown_format(tmp_path):
    refused = ("load-test", "127.0.0.1:1", "--report", tmp_path / "x.txt")
    refuses(invoke(*refused), "names no format", code=2)


def test_a_report_of_nothing(port, tmp_path):
    path = write_plans(tmp_path / "nothing.jsonl", 2, status=503)
    page = tmp_path / "page.html"
    run(port, path, "--num-prompts", 2, "--report", page, code=1)
    assert "HTTP 503" in page.read_text("utf-8")


def test_no_request_is_completed(port, tmp_path):
    path = write_plans(tmp_path / "broken.jsonl", 3, status=503)
    result = invoke("load-test", f"127.0.0.1:{port}", "--dataset-path", path, "--num-prompts", 3)
    assert "0 completed, 3 failed" in result.stdout
    refuses(result, "no request was completed: HTTP 503 Planned")


def test_the_client_imports_no_mlx():
    code = (
        "import sys\n"
        "from mlx_probe.cli import cli\n"
        "try:\n"
        "    cli(['load-test', '127.0.0.1:1', '--model', 'm'], standalone_mode=False)\n"
        "except BaseException:\n"
        "    pass\n"
        "print({'mlx', 'mlx.core', 'mlx_lm', 'transformers', 'tokenizers', 'torch'}"
        " & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_run_folder(port, tmp_path):
    path, out = write_plans(tmp_path / "folder.jsonl", 2), tmp_path / "out"
    secrets = ("--token", "top secret", "--header", "X-Other=hush", "--header=X-More=quiet")
    command = (f"127.0.0.1:{port}", "--dataset-path", path, "--num-prompts", 2, *secrets)
    result = invoke("load-test", *command, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    run = read_experiment(out)
    assert (run.kind, run.state) == ("load-test", "finished")
    assert json.loads((out / "result.json").read_text()) == json.loads(result.stdout)
    assert run.metrics["completed"] == 2
    assert run.metrics["p99_ttft_ms"] > 0
    assert run.config["num_prompts"] == 2
    assert [each.role for each in run.inputs] == ["model", "data"]
    words = (out / "run_meta.json").read_text()
    assert all(word not in words for word in ("secret", "hush", "quiet"))
    assert run.command[-7:-2] == (
        "<hidden>", "--header", "X-Other=<hidden>", "--header=X-More=<hidden>", "--out"
    )  # fmt: skip
