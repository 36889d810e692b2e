"""The address of a server."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.load_test.config import ENDPOINTS

__all__ = ["Address", "parse_address"]

_REMEDY = "Give an address such as http://127.0.0.1:8080"


@dataclass(frozen=True)
class Address:
    """Where requests go.

    Attributes:
        host: Name or number.
        port: TCP port.
        secure: Whether by TLS.
        root: Path that all endpoints begin with; mostly "".
        endpoint: Path of the requests.
    """

    host: str
    port: int
    secure: bool
    root: str
    endpoint: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address of the requests."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.endpoint}"

    def at(self, path: str) -> str:
        """The path of another endpoint of the same server, such as /v1/models."""
        return self.root + path


def parse_address(text: str, backend: str = "openai-chat") -> Address:
    """Read the address of a server.

    Args:
        text: With or without /v1, or the whole path of an endpoint.
        backend: Key in `ENDPOINTS`.

    Raises:
        ConfigError: It is no http or https address.
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{text!r} is no address: {error}", _REMEDY) from error
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{text!r} is no http or https address", _REMEDY)
    secure = parts.scheme == "https"
    path = parts.path.rstrip("/")
    endpoint = ENDPOINTS[backend]
    if path.endswith("/completions"):
        # As it stands, for servers with paths of their own.
        endpoint, root = path, path.removesuffix(endpoint) if path.endswith(endpoint) else ""
    else:
        root = path.removesuffix("/v1")
        endpoint = root + endpoint
    return Address(host, port or (443 if secure else 80), secure, root, endpoint)
