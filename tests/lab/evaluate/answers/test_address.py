"""A server in OpenAI's form, and servers that are not."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from bfcl_folder import write_bfcl

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.evaluate.answers import address
from mlx_probe.lab.evaluate.answers.address import plain_names
from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.evaluate import evaluate


class Server(ThreadingHTTPServer):
    """Answers each question with a call of its first tool; `fails` come first."""

    def __init__(self, reply=None, fails=()):
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies, self.reply, self.fails = [], reply, list(fails)
        self.keys = set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send(200, {"data": [{"id": "the-model"}]} if self.path == "/v1/models" else {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.add(self.headers["Authorization"])
        if self.server.fails:
            self.send(self.server.fails.pop(), {"error": "not now"})
            return
        self.server.bodies.append(body)
        self.send(200, self.server.reply or self.calling(body))

    def calling(self, body):
        name = body["tools"][0]["function"]["name"] if "tools" in body else ""
        arguments = json.dumps({"what": "eggs brown", "minutes": 7})
        call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        if not name:
            message = {"content": "[kitchen.boil(what='eggs brown', minutes=7)]"}
        return {
            "choices": [{"message": message, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 9},
        }

    def send(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(address, "_WAITS", (0.01, 0.01))
    servers = []

    def start(**settings):
        server = Server(**settings)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("prompting", ["tools", "words"])
def test_a_server_answers(serve, tmp_path, prompting):
    server = serve(fails=[503, 429])
    config = AnswerConfig(prompting=prompting, api_key="secret", concurrency=2)
    result = evaluate(
        server.url, write_bfcl(tmp_path / "bfcl"), "bfcl", config, out=tmp_path / "out"
    )
    assert result["model"] == "the-model"
    assert result["answered"] == 7
    assert server.keys == {"Bearer secret"}
    found = {each["category"]: each["accuracy"]["count"] for each in result["categories"]}
    assert found["simple_python"] == 1
    body = server.bodies[0]
    assert body["temperature"] == 0
    if prompting == "tools":
        # The interface takes no dots; the answer has the function's own name again.
        assert {b["tools"][0]["function"]["name"] for b in server.bodies} == {
            "kitchen_boil",
            "kitchen_mix",
        }
        assert body["messages"][0]["content"].startswith("You are a helpful assistant")
    else:
        assert "tools" not in body
        assert '"kitchen.' in body["messages"][0]["content"]
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    assert {json.loads(line)["tokens"] for line in lines} == {9}
    assert "secret" not in "".join(p.read_text() for p in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fails": [400]}, "400"),
        ({"fails": [401]}, "401"),
        ({"fails": [503] * 3}, "503"),
        ({"reply": {"choices": []}}, "has no message"),
        ({"reply": [1]}, "has no message"),
    ],
)
def test_a_server_that_does_not(serve, tmp_path, settings, says):
    server = serve(**settings)
    with pytest.raises(SourceError, match=says):
        evaluate(server.url, write_bfcl(tmp_path), "bfcl", AnswerConfig(concurrency=1))


def test_no_server(serve, tmp_path):
    server = serve()
    with pytest.raises(SourceError, match="names no model"):
        evaluate(f"{server.url}/other", write_bfcl(tmp_path), "bfcl")
    server.shutdown()
    server.server_close()
    with pytest.raises(SourceError, match="refused"):
        evaluate(server.url, write_bfcl(tmp_path), "bfcl")


def test_names_that_the_interface_takes():
    names = plain_names(["a.b", "a_b", "a-b", "数", "x" * 90, "x" * 91])
    assert list(names.values())[:4] == ["a_b", "a_b_2", "a-b", "_"]
    assert len(set(names.values())) == 6
    assert all(len(name) <= 64 for name in names.values())
