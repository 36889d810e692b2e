"""One connection to the server: what is refused, what mlx-lm answers, and what is measured."""

from __future__ import annotations

import hmac
import io
import json
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from mlx_probe.core.version import __version__
from mlx_probe.lab.serve.config import ServeConfig
from mlx_probe.lab.serve.metrics import CONTENT_TYPE, Metrics
from mlx_probe.lab.serve.request_body import BadRequestError, checked_body
from mlx_probe.lab.serve.watched import Watched

__all__ = ["Service", "handler_class"]

# Completions by path.
_CHAT, _TEXT = ("/v1/chat/completions", "/chat/completions"), ("/v1/completions",)
# Bytes of a refused request that are read, so that its client reads the answer.
_DRAINED = 64 * 1024 * 1024
# Answered without the token.
_OPEN = ("/health", "/v1/health")


@dataclass
class Service:
    """What all connections share.

    Attributes:
        config: Settings.
        generator: mlx-lm's.
        names: What requests may call the model, its own name first.
        metrics: What is counted.
        fingerprint: mlx-lm's text about version and machine.
        on_request: Called with a line about each request that has ended.
    """

    config: ServeConfig
    generator: Any
    names: tuple[str, ...]
    metrics: Metrics
    fingerprint: str
    on_request: Callable[[str], None]


class _Guard(BaseHTTPRequestHandler):
    """What comes before and after mlx-lm's `APIHandler`.

    Attributes:
        service: Set by `handler_class`.
        response_generator: What mlx-lm's methods use.
    """

    service: Service
    response_generator: Any
    server_version = f"mlx-probe/{__version__}"
    sys_version = ""
    # Tokens are many small writes; waiting for the client's acknowledgement takes 40 ms each.
    disable_nagle_algorithm = True

    _status = 0
    _forced = 0

    def do_GET(self) -> None:
        """Health, metrics, and the model's name."""
        path = self.path.partition("?")[0].rstrip("/")
        listed = {
            "id": self.service.names[0],
            "object": "model",
            "created": int(time.time()),
            "owned_by": "mlx-probe",
        }
        if path in _OPEN:
            healthy = bool(self.service.generator.is_healthy)
            text = "ok" if healthy else "unavailable"
            self._answer(200 if healthy else 503, {"status": text})
        elif not self._is_allowed():
            self._refuse(BadRequestError("the token is missing or wrong", 401))
        elif path == "/metrics":
            self._send(200, CONTENT_TYPE, self.service.metrics.text().encode())
        elif path == "/v1/models":
            self._answer(200, {"object": "list", "data": [listed]})
        elif path.removeprefix("/v1/models/") in self.service.names:
            self._answer(200, listed)
        else:
            self._refuse(BadRequestError(f"there is nothing at {path[:200]!r}", 404))

    def do_POST(self) -> None:
        """Completions: checked here, answered by mlx-lm."""
        began = time.perf_counter()
        path = self.path.partition("?")[0].rstrip("/")
        metrics = self.service.metrics
        watched = Watched(self.service.generator, metrics, self.connection, began)
        outcome = ""
        try:
            asked = self._checked(path)
            body = json.dumps(asked).encode()
            self.path = path
            self.rfile = io.BytesIO(body)
            self.headers.replace_header("Content-Length", str(len(body)))
            self.response_generator = watched
            self._answer_by_mlx_lm(watched, asked.get("stream") is True)
        except BadRequestError as error:
            self._refuse(error)
        except (ConnectionError, TimeoutError):
            outcome = "left"
        outcome = outcome or str(self._status)
        metrics.count_request(outcome)
        took = time.perf_counter() - began
        self.service.on_request(
            f"{time.strftime('%H:%M:%S')} POST {path[:80]} {outcome} "
            f"{watched.prompt_tokens}+{watched.tokens} tokens {took:.2f} s"
        )

    def send_response(self, code: int, message: str | None = None) -> None:
        """Remember the status; mlx-lm answers 404 to whatever the generation refuses."""
        self._status = self._forced or code
        super().send_response(self._status, message)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: `do_POST` has a line for each request."""

    def _answer_by_mlx_lm(self, watched: Watched, is_stream: bool) -> None:
        generate = watched.generate

        def classified(*args: Any, **settings: Any) -> Any:
            try:
                return generate(*args, **settings)
            except RuntimeError:  # the generation thread has died
                self._forced = 503
                raise
            except Exception:
                self._forced = 400
                raise

        watched.generate = classified  # type: ignore[method-assign]
        try:
            super().do_POST()  # type: ignore[misc]
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            # In mid-answer. Who reads a stream is told; other headers have not been sent yet.
            if not is_stream:
                self._headers_buffer: list[bytes] = []
                raise BadRequestError(f"no answer: {error}", 500) from error
            line = json.dumps({"error": {"message": str(error), "type": "server_error"}})
            self.wfile.write(f"data: {line}\n\n".encode())
            self._status = 500

    def _checked(self, path: str) -> dict[str, Any]:
        if not self._is_allowed():
            raise BadRequestError("the token is missing or wrong", 401)
        if path not in (*_CHAT, *_TEXT):
            raise BadRequestError(f"there is nothing at {path[:200]!r}", 404)
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise BadRequestError("the request has to say its Content-Length", 411)
        most = self.service.config.max_request
        if int(length) > most:
            raise BadRequestError(
                f"the request has {int(length):,} bytes, more than the {most:,} allowed", 413
            )
        body = self._read(int(length))
        return checked_body(body, path in _CHAT, self.service.names)

    def _read(self, length: int) -> bytes:
        try:
            body = self.rfile.read(length)
        except TimeoutError as error:
            raise BadRequestError("the request did not come to its end", 408) from error
        if len(body) < length:
            raise ConnectionError("the client left before the end of its request")
        self._was_read = True
        return body

    def _is_allowed(self) -> bool:
        token = self.service.config.token
        if not token:
            return True
        sent = self.headers.get("Authorization", "")
        kind, _, value = sent.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(
            value.strip().encode("utf-8", "replace"), token.encode()
        )

    _was_read = False

    def _refuse(self, error: BadRequestError) -> None:
        kind = "invalid_request_error" if error.status < 500 else "server_error"
        content = {"error": {"message": str(error), "type": kind, "code": error.status}}
        self._answer(error.status, content)
        if not self._was_read:
            self._drain()

    def _drain(self) -> None:
        """Read on: the system tells a client of a reset, not of the answer, if bytes are left."""
        length = self.headers.get("Content-Length", "")
        left = min(int(length), _DRAINED) if length.isdigit() else 0
        try:
            if left:
                self.connection.shutdown(socket.SHUT_WR)
                self.connection.settimeout(2.0)
            while left > 0:
                piece = self.rfile.read(min(left, 1 << 16))
                if not piece:
                    break
                left -= len(piece)
        except OSError:
            pass

    def _answer(self, status: int, content: Any) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if status == 401:
                self.send_header("WWW-Authenticate", "Bearer")
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self._status = self._status or status


def handler_class(service: Service) -> Callable[..., BaseHTTPRequestHandler]:
    """What makes a handler of a connection: mlx-lm's, guarded."""
    from mlx_lm.server import APIHandler

    # The standard library applies `timeout` to each read and write.
    own = {"service": service, "timeout": service.config.idle_timeout}
    kind: Any = type("Handler", (_Guard, APIHandler), own)

    def handle(*connection: Any) -> BaseHTTPRequestHandler:
        made: BaseHTTPRequestHandler = kind(
            service.generator, *connection, system_fingerprint=service.fingerprint
        )
        return made

    return handle


def report(line: str) -> None:
    """Print a line about a request on standard error."""
    print(line, file=sys.stderr, flush=True)
