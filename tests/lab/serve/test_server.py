"""The server: answers, refusals, and clients that misbehave."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import CHAT, TEXT, USER, ask, call

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.core.listening import is_loopback
from mlx_probe.lab.load_test.config import LoadTestConfig
from mlx_probe.lab.load_test.load_test import load_test
from mlx_probe.lab.serve.config import ServeConfig
from mlx_probe.lab.serve.metrics import metric_names

TOKEN = "correct-horse"


@pytest.fixture(scope="module")
def lines():
    return []


@pytest.fixture(scope="module")
def server(serving, lines):
    with serving(lines=lines, name="tiny") as server:
        yield server


def value(server, name, **labels):
    text = call(server, "GET", "/metrics")[2]
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"mlx_probe_serve_{name}" and sample.labels == labels:
                return sample.value
    return 0.0


def wait_until_idle(server):
    end = time.monotonic() + 10
    while server.service.metrics.in_flight and time.monotonic() < end:
        time.sleep(0.02)
    assert server.service.metrics.in_flight == 0


def is_alive(server):
    return ask(server)[0] == 200


def test_an_answer(server, lines):
    status, _, answer = ask(server, stop=None, temperature=0)
    assert status == 200
    assert answer["model"] == "tiny"
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["usage"]["completion_tokens"] <= 5
    end = time.monotonic() + 5
    while not lines and time.monotonic() < end:  # the line comes after the answer
        time.sleep(0.01)
    assert "POST /v1/chat/completions 200" in lines[0]
    status, _, text = ask(server, TEXT)
    assert status == 200
    assert "text" in text["choices"][0]


def test_a_stream_is_the_same_text(server):
    whole = ask(server)[2]
    status, headers, text = ask(server, stream=True, stream_options={"include_usage": True})
    assert status == 200
    assert headers["Content-Type"] == "text/event-stream"
    events = [line[6:] for line in text.split("\n\n") if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    message = whole["choices"][0]["message"]
    assert "".join(delta.get("content", "") for delta in deltas) == (message["content"] or "")
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]


def test_models_and_health(server, tiny):
    status, _, listed = call(server, "GET", "/v1/models")
    assert (status, [model["id"] for model in listed["data"]]) == (200, ["tiny"])
    assert call(server, "GET", "/v1/models/tiny")[2]["id"] == "tiny"
    assert call(server, "GET", "/v1/models/other")[0] == 404
    assert call(server, "GET", "/health")[::2] == (200, {"status": "ok"})
    # The model's path is a name of it, too.
    assert ask(server, model=str(tiny.model))[2]["model"] == "tiny"
    assert ask(server, model=None)[0] == 200


@pytest.mark.parametrize(
    ("path", "content", "status", "message"),
    [
        (CHAT, {"model": "gpt-4"}, 404, "not served here"),
        (CHAT, {"messages": []}, 400, "at least one message"),
        (CHAT, {"messages": "hello"}, 400, "at least one message"),
        (CHAT, {"messages": [{"content": "x"}]}, 400, "with a role"),
        (CHAT, {"messages": [{"role": "user", "content": 5}]}, 400, "text as its content"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "text as its content",
        ),
        (CHAT, {"tools": "add"}, 400, "tools has to be"),
        (CHAT, {"adapters": "/etc"}, 400, "adapters and draft models"),
        (CHAT, {"n": 2}, 400, "n must be 1"),
        (CHAT, {"stop": [""]}, 400, "stop has to be"),
        (CHAT, {"max_tokens": "many"}, 400, "max_tokens must be of type"),
        (CHAT, {"temperature": -1}, 400, "temperature must be at least"),
        (TEXT, {"prompt": [1, 2]}, 400, "prompt has to be a text"),
        (TEXT, {"prompt": "to be " * 60}, 400, "more than the 48"),
        ("/v1/embeddings", {}, 404, "there is nothing at '/v1/embeddings'"),
    ],
)
def test_what_is_refused(server, path, content, status, message):
    found, _, answer = call(
        server, "POST", path, {"messages": USER, "prompt": "To be", "max_tokens": 3, **content}
    )
    error = answer["error"]
    assert message in (error if isinstance(error, str) else error["message"])
    assert found == status


@pytest.mark.parametrize("body", ["{", "[1]", b"\xff", "nothing", "[" * 100_000])
def test_broken_json(server, body):
    status, _, answer = call(server, "POST", CHAT, body=body)
    assert status == 400
    assert "JSON" in answer["error"]["message"]
    assert is_alive(server)


def test_a_request_of_ten_megabytes(server):
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 10_000_000}]})
    status, _, answer = call(server, "POST", CHAT, body=body)
    assert status == 413
    assert "more than the 4,194,304 allowed" in answer["error"]["message"]
    # One that is allowed, and too long for the model.
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 4_000_000}]})
    began = time.monotonic()
    status, _, answer = call(server, "POST", CHAT, body=body)
    assert status == 400
    assert "of the model's context" in answer["error"]
    # Nobody waits until all of it is tokens.
    assert time.monotonic() - began < 2
    assert is_alive(server)


def test_a_length_that_is_none(server):
    with socket.create_connection(urlsplit(server.url).netloc.split(":"), timeout=10) as sock:
        sock.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n\r\n{}")
        assert b" 411 " in sock.recv(100)
    with socket.create_connection(urlsplit(server.url).netloc.split(":"), timeout=10) as sock:
        sock.sendall(b"no HTTP at all\r\n\r\n")
        assert b"400" in sock.recv(4000)
    assert is_alive(server)


def test_a_client_that_leaves(server):
    """In mid-stream, in mid-answer, in mid-request: the slot is free again."""
    before = value(server, "requests_total", status="left")
    content = {"messages": USER, "max_tokens": 40, "logit_bias": {}, "stream": True}
    for stream in (True, False):
        body = json.dumps({**content, "stream": stream}).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(urlsplit(server.url).netloc.split(":")) as sock:
            sock.sendall(head + body)
            if stream:
                assert sock.recv(10)
        with socket.create_connection(urlsplit(server.url).netloc.split(":")) as sock:
            sock.sendall(head + body[:5])
    end = time.monotonic() + 10
    while value(server, "requests_total", status="left") < before + 3 and time.monotonic() < end:
        time.sleep(0.02)
    assert value(server, "requests_total", status="left") >= before + 3
    wait_until_idle(server)
    assert is_alive(server)


def test_a_client_that_reads_slowly_holds_nobody_up(server):
    body = json.dumps({"messages": USER, "max_tokens": 40, "stream": True}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(urlsplit(server.url).netloc.split(":")) as sock:
        sock.sendall(head + body)
        began = time.monotonic()
        assert is_alive(server)
        assert time.monotonic() - began < 5


def test_metrics(server):
    wait_until_idle(server)
    families = list(text_string_to_metric_families(call(server, "GET", "/metrics")[2]))
    # The parser leaves the end of a counter's name out.
    names = {name.removesuffix("_total") for name in metric_names()}
    assert {family.name for family in families} == names
    assert all(family.documentation for family in families)
    before = value(server, "generation_tokens_total")
    made = ask(server)[2]["usage"]["completion_tokens"]
    assert value(server, "generation_tokens_total") == before + made
    count = value(server, "request_seconds_count")
    assert count == value(server, "request_seconds_bucket", le="+Inf") > 0
    assert value(server, "time_to_first_token_seconds_sum") > 0
    assert value(server, "requests_running") == value(server, "requests_waiting") == 0
    assert value(server, "requests_total", status="400") > 0


def test_four_clients_without_an_error(server):
    config = LoadTestConfig(num_prompts=16, max_concurrency=4, random_input_len=4, output_len=6)
    found = load_test(server.url, config)
    assert (found["completed"], found["failed"], found["model_id"]) == (16, 0, "tiny")
    assert found["output_tokens_from"] == {"usage": 16, "tokenizer": 0, "unknown": 0}
    assert found["total_output_tokens"] <= 16 * 6


def test_a_token(serving):
    with serving(token=TOKEN, max_tokens=2) as server:
        right = {"Authorization": f"Bearer {TOKEN}"}
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            for method, path in (("GET", "/v1/models"), ("GET", "/metrics"), ("POST", CHAT)):
                content = {"messages": USER} if method == "POST" else None
                status, found, answer = call(server, method, path, content, headers)
                assert status == 401
                assert found["WWW-Authenticate"] == "Bearer"
                assert "token" in answer["error"]["message"]
        assert call(server, "GET", "/health")[0] == 200
        assert call(server, "GET", "/v1/models", headers=right)[0] == 200
        assert call(server, "POST", CHAT, {"messages": USER}, right)[0] == 200
        config = LoadTestConfig(num_prompts=2, random_input_len=3, output_len=2, token=TOKEN)
        assert load_test(server.url, config)["completed"] == 2
        assert load_test(server.url, LoadTestConfig(model="m", num_prompts=2))["failed"] == 2
        assert TOKEN not in repr(server.service.config)


def test_only_this_machine_reaches_it(server):
    port = urlsplit(server.url).port
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in own - {"127.0.0.1"}:
        if not address.startswith("127."):
            with pytest.raises(OSError, match=r"refused|timed out"):
                socket.create_connection((address, port), timeout=1)
    for host in ("0.0.0.0", "::"):
        with pytest.raises(ConfigError, match="no token"):
            ServeConfig(host=host)
        assert ServeConfig(host=host, token="x").host == host
    assert is_loopback("127.0.0.2")
    assert is_loopback("localhost")
    with pytest.raises(ConfigError, match="no address"):
        ServeConfig(host="no such host")


def test_what_cannot_be_served(serving, server, tmp_path):
    port = urlsplit(server.url).port
    with pytest.raises(ConfigError, match=f"port {port}"), serving(port=port):
        pass
    with pytest.raises(SourceError), serving(model=tmp_path):
        pass
    for settings in ({"port": -1}, {"max_tokens": 0}, {"top_p": 0.0}, {"token": "a b"}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            ServeConfig(**settings)
