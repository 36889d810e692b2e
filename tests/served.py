"""Requests to a server of `mlx-probe serve`."""

import http.client
import json
from urllib.parse import urlsplit

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
USER = [{"role": "user", "content": "To be"}]


def call(server, method, path, content=None, headers=None, body=None):
    """Status, headers, and the content of the response."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    body = body if body is not None else json.dumps(content) if content is not None else None
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    kind = answer.headers.get("Content-Type", "")
    return answer.status, answer.headers, json.loads(text) if "json" in kind else text.decode()


def ask(server, path=CHAT, **content):
    asked = {"messages": USER} if path == CHAT else {"prompt": "To be"}
    return call(server, "POST", path, {"max_tokens": 5, **asked, **content})
