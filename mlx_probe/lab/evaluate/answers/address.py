"""A model behind an OpenAI-compatible address answers, through `/chat/completions`."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.answers.prediction import Prediction
from mlx_probe.lab.evaluate.answers.prompting import PROMPTING
from mlx_probe.lab.evaluate.answers.question import Question

__all__ = ["ServedModel", "is_address", "plain_names"]

# Seconds for one answer; and before each new try, where a server is busy or stumbles.
_PATIENCE = 600
_WAITS = (1, 2, 4, 8)
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
# What names of functions may have at OpenAI's interface.
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")


def is_address(reference: str) -> bool:
    """Whether a model's reference is the address of a server."""
    return reference.startswith(("http://", "https://"))


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Names that the interface takes, by the functions' own; no two are the same."""
    plain: dict[str, str] = {}
    for name in names:
        short = base = _FORBIDDEN.sub("_", name)[:60] or "_"
        number = 2
        while short in plain.values():
            short, number = f"{base}_{number}", number + 1
        plain[name] = short
    return plain


class ServedModel:
    """Asks a model behind an address.

    Attributes:
        name: The model's name there.
        concurrency: Questions at a time.
    """

    def __init__(self, address: str, config: AnswerConfig) -> None:
        """Ask the server for its model, if the settings name none.

        Args:
            address: Of the interface, with or without /v1.
            config: Settings.

        Raises:
            SourceError: No server answers, or it has no model.
        """
        self._address = address.rstrip("/")
        if urlsplit(self._address).path in ("", "/"):
            self._address += "/v1"
        self._config, self.concurrency = config, config.concurrency
        self.name = config.name or self._first_model()

    def identity(self) -> dict[str, Any]:
        """What decides the answers, beside the settings."""
        return {"model": self.name, "address": self._address}

    def facts(self) -> Mapping[str, Any]:
        """What it ran with: the server's matter."""
        return {"device": None, "dtype": None, "runs_by": self._address}

    def ask(self, question: Question) -> Prediction:
        """Answer one question.

        Raises:
            SourceError: The server refuses, or does not answer.
        """
        config = self._config
        messages, tools = PROMPTING[config.prompting].conversation(question, config.system)
        names = plain_names(tool["function"]["name"] for tool in tools)
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [_renamed_message(message, names) for message in messages],
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
            "seed": config.seed,
        }
        if tools:
            body["tools"] = [_renamed(tool, names) for tool in tools]
        start = time.perf_counter()
        reply = self._post("/chat/completions", body)
        seconds = time.perf_counter() - start
        try:
            choice = reply["choices"][0]
            message = choice["message"]
            usage = reply.get("usage") or {}
            own = {short: name for name, short in names.items()}
            calls = [_renamed(call, own) for call in message.get("tool_calls") or ()]
            return Prediction(
                id=question.id,
                text=str(message.get("content") or ""),
                tool_calls=calls or None,
                finish_reason=choice.get("finish_reason"),
                question=question.fingerprint,
                prompt_tokens=usage.get("prompt_tokens"),
                tokens=usage.get("completion_tokens"),
                seconds=seconds,
            )
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise SourceError(
                f"{self._address}: the answer to {question.id} has no message",
                "Check that it is the address of an OpenAI-compatible server",
            ) from error

    def _first_model(self) -> str:
        try:
            return str(self._request("/models", None)["data"][0]["id"])
        except (KeyError, IndexError, TypeError) as error:
            raise SourceError(
                f"{self._address}: the server names no model", "Name one with --name"
            ) from error

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._request(path, json.dumps(body).encode())

    def _request(self, path: str, data: bytes | None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._config.api_key:
            headers["Authorization"] = f"Bearer {self._config.api_key}"
        request = urllib.request.Request(self._address + path, data, headers)
        for wait in (*_WAITS, None):
            try:
                with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                if wait is None or error.code not in _BUSY:
                    raise self._refused(path, error) from error
            except (OSError, http.client.HTTPException) as error:
                # A server that is not there will not come; one that broke off may.
                reason = getattr(error, "reason", error)
                if wait is None or isinstance(reason, ConnectionRefusedError):
                    raise SourceError(
                        f"{self._address}{path}: {reason}", "Check the address, and the server"
                    ) from error
            except ValueError as error:
                raise SourceError(
                    f"{self._address}{path}: the answer is no JSON",
                    "Check that it is the address of an OpenAI-compatible server",
                ) from error
            time.sleep(wait)
        raise AssertionError  # the last try raises

    def _refused(self, path: str, error: urllib.error.HTTPError) -> SourceError:
        try:
            said = error.read(2000).decode("utf-8", "replace").strip()
        except OSError:
            said = ""
        remedy = (
            "Set MLX_PROBE_EVALUATE_API_KEY to the server's token"
            if error.code in (401, 403)
            else "Read what the server says, and its log"
        )
        return SourceError(f"{self._address}{path}: {error.code} {said or error.reason}", remedy)


def _renamed(tool: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A tool or call with another name."""
    function = tool["function"]
    name = names.get(function["name"], function["name"])
    return {**tool, "function": {**function, "name": name}}


def _renamed_message(message: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    plain = dict(message)
    if plain.get("tool_calls"):
        plain["tool_calls"] = [_sent(call, names) for call in plain["tool_calls"]]
    return plain


def _sent(call: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    renamed = _renamed(call, names)
    arguments = renamed["function"].get("arguments", {})
    if not isinstance(arguments, str):
        renamed["function"]["arguments"] = json.dumps(arguments)
    return renamed
