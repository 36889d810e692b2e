"""`mlx-probe serve` as a process: where it listens, its lines, and how it ends."""

import json
import os
import re
import signal
import subprocess
import urllib.request

import pytest
from lab import mlx_lm
from models import invoke, refuses
from tiny_llm import make_model, make_tokenizer
from tinymodel import COMMAND


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    mlx_lm("server")
    root = tmp_path_factory.mktemp("serve")
    return make_model(root / "model", make_tokenizer(root / "tokenizer"))


@pytest.mark.slow
def test_it_answers_until_ctrl_c(model, tmp_path):
    command = [COMMAND, "serve", model, "--port", "0", "--device", "cpu", "--name", "m"]
    # No Hub cache folder: the server does not look for one.
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "none"), "MLX_PROBE_TOKEN": ""}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        try:
            line = process.stdout.readline()
            url = re.fullmatch(r"Serving m at (http://127\.0\.0\.1:\d+)/v1; .+\n", line)[1]
            with urllib.request.urlopen(f"{url}/v1/models", timeout=10) as answer:
                assert json.load(answer)["data"][0]["id"] == "m"
            asked = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 30}
            request = urllib.request.Request(
                f"{url}/v1/chat/completions",
                json.dumps({**asked, "stream": True}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.readline().startswith((b"data: ", b": "))
                process.send_signal(signal.SIGINT)
                # What has begun is finished.
                assert answer.read().endswith(b"data: [DONE]\n\n")
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert re.search(r"POST /v1/chat/completions 200 \d+\+\d+ tokens", said)


def test_what_is_refused(tmp_path):
    refuses(invoke("serve", tmp_path, "--host", "0.0.0.0"), "there is no token", code=2)
    refuses(invoke("serve", tmp_path, "--port", "0"), "no weights")
    assert invoke("serve", tmp_path, "--port", "70000").exit_code == 2
