"""How a model is served, and who may reach the server."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.listening import is_loopback

__all__ = ["ServeConfig"]


@dataclass(frozen=True)
class ServeConfig:
    """Settings of a server.

    Attributes:
        host: Name or number of the address to listen at.
        port: TCP port; 0 for any that is free.
        token: What a client has to send as `Authorization: Bearer`; "" for none, which only a
            loopback address may have.
        name: What requests call the model; "" for the model reference.
        adapter: Folder of an adapter of mlx-lm; "" for none.
        max_tokens: Of an answer, where the request does not say.
        temperature: Where the request does not say.
        top_p: Where the request does not say.
        concurrency: Requests that are computed together.
        prompt_cache: Prompts whose keys and values are kept.
        max_request: Bytes of a request, at most.
        idle_timeout: Seconds that a client may send or read nothing.
        allowed_origins: Web pages that may use the server, by their origin.

    Raises:
        ConfigError: A value has no meaning, or an address is open to all.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str = field(default="", repr=False)
    name: str = ""
    adapter: str = ""
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    concurrency: int = 32
    prompt_cache: int = 10
    max_request: int = 4 * 1024 * 1024
    idle_timeout: float = 60.0
    allowed_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        counts = ("max_tokens", "concurrency", "prompt_cache", "max_request")
        refuse_outside(
            self,
            (
                ("port", 0 <= self.port < 1 << 16, "0 to 65535"),
                *((name, getattr(self, name) >= 1, "1 or more") for name in counts),
                ("temperature", 0 <= self.temperature < 100, "0 or more, below 100"),
                ("top_p", 0 < self.top_p <= 1, "above 0, at most 1"),
                ("idle_timeout", self.idle_timeout > 0, "above 0"),
            ),
        )
        if not self.token.isascii() or any(c.isspace() for c in self.token):
            raise ConfigError("the token has spaces or is not ASCII", "Choose another token")
        if not self.token and not is_loopback(self.host):
            raise ConfigError(
                f"{self.host} can be reached from other machines, and there is no token",
                "Set MLX_PROBE_TOKEN, which clients send as Authorization: Bearer, or leave out "
                "--host",
            )
