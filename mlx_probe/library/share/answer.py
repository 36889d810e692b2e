"""What a request is answered: who may look, at what, and with which headers."""

from __future__ import annotations

import ipaddress
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote

from mlx_probe.core.language import tr
from mlx_probe.library.share.config import ShareConfig
from mlx_probe.library.share.guests import Guests
from mlx_probe.library.share.held import NotServedError
from mlx_probe.library.share.limits import RateLimit, network
from mlx_probe.library.share.request import Request
from mlx_probe.library.share.site import BARE, Resource, Site
from mlx_probe.library.share.tokens import Token

__all__ = ["COOKIE", "SECURITY", "Answer", "Door", "plain_answer"]

COOKIE = "mlx_probe_guest"
_METHODS, _VERSIONS = ("GET", "HEAD"), ("1.0", "1.1")
_TOKEN = re.compile(r"(?:\A|&)token=([^&]*)")
# Bytes of a document that becomes a page.
_LONGEST_PAGE = 1 << 20
# Of every answer.
SECURITY: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


@dataclass
class Answer:
    """An answer.

    Attributes:
        status: The status.
        headers: Its own headers; `SECURITY` comes in addition.
        body: The body; empty where there is a file.
        file: An open file to send, which the receiver closes; None for none.
        size: Bytes of body or file.
        guest: Whom it goes to; "" for nobody in particular.
        reason: Why it is no plain 200, for the audit log.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: int | None = None
    size: int = 0
    guest: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        self.size = self.size or len(self.body)


def plain_answer(status: int, text: str, reason: str, **headers: str) -> Answer:
    """An answer of one sentence."""
    return Answer(
        status,
        {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Security-Policy": BARE,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        f"{text}\n".encode(),
        reason=reason,
    )


class Door:
    """Decides about requests.

    Args:
        site: What there is.
        config: Settings.
        guests: Who may look.
        port: The port that is listened at.
    """

    def __init__(self, site: Site, config: ShareConfig, guests: Guests, port: int) -> None:
        self._site, self._config, self._guests = site, config, guests
        self._rate = RateLimit(config.rate)
        self._names = {"localhost", *(name.lower() for name in config.allowed_hosts)}
        self._needs_tokens = config.needs_tokens
        # Browsers keep one cookie for all ports of a host.
        self._cookie = f"{COOKIE}_{port}"

    def answer(self, request: Request, address: str) -> Answer:
        """The answer to a request from an address; a file in it is open."""
        refused = self._refused(request)
        if refused is not None:
            return refused
        path, _, query = request.target.partition("?")
        sent, is_new = self._token(request, query)
        guest, problem = self._guests.admit(sent) if sent else (None, "no token")
        wait = self._rate.wait(f"guest {guest.guest}" if guest else network(address))
        if wait:
            answer = plain_answer(
                429, tr("Too many requests."), "rate limit", Retry_After=str(wait)
            )
        elif guest is None and (sent or self._needs_tokens):
            answer = _unknown(request, problem)
        elif guest is not None and is_new:
            answer = self._welcome(path, guest)
        else:
            answer = self._served(path)
        answer.guest = guest.guest if guest else ""
        if request.extra and not answer.reason:
            answer.reason = f"{request.extra} bytes behind the request were not read"
        return answer

    def _refused(self, request: Request) -> Answer | None:
        """What no guest may ask for."""
        if request.version not in _VERSIONS:
            return plain_answer(505, tr("This is no request."), "version")
        if request.method not in _METHODS:
            text = tr("This server only shows pages.")
            return plain_answer(405, text, "method", Allow=", ".join(_METHODS))
        if request.has_body:
            return plain_answer(400, tr("A request has no body here."), "body")
        if len(request.target) > self._config.longest_target:
            return plain_answer(414, tr("The address is too long."), "address too long")
        if not request.target.startswith("/"):
            return plain_answer(400, tr("This is no address of a page."), "no path")
        # A page of another name that leads here is somebody's who reads along.
        if not self._is_ours(request.headers.get("host", "")):
            return plain_answer(421, tr("This server does not answer to that name."), "host")
        return None

    def _is_ours(self, host: str) -> bool:
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:@/\\\s]+)(?::\d{1,5})?", host)
        if match is None:
            return False
        name = match[1].lower().strip("[]")
        if name in self._names:
            return True
        try:
            # A number is no name that somebody could point elsewhere.
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _token(self, request: Request, query: str) -> tuple[str, bool]:
        """The token that a request brings, and whether it is in its address."""
        found = _TOKEN.search(query)
        if found is not None:
            return found[1] or "?", True
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind:
            return (value.strip() or "?") if kind.lower() == "bearer" else "?", False
        # Without tokens a cookie of an earlier server, at the same port, means nothing.
        if self._needs_tokens:
            for part in request.headers.get("cookie", "").split(";"):
                name, _, value = part.strip().partition("=")
                if name == self._cookie:
                    return value or "?", False
        return "", False

    def _welcome(self, path: str, guest: Token) -> Answer:
        """To the same page without the token in its address, which a browser would show."""
        known = path if path in self._site.resources else "/"
        answer = plain_answer(303, tr("Welcome."), "token taken", Location=known)
        token = self._guests.text_of(guest)
        left = max(0, int(guest.expires - time.time()))
        answer.headers["Set-Cookie"] = (
            f"{self._cookie}={token}; Max-Age={left}; Path=/; HttpOnly; SameSite=Strict"
        )
        return answer

    def _served(self, path: str) -> Answer:
        resource = self._site.resources.get(path)
        if resource is None:
            return plain_answer(404, tr("There is nothing at this address."), "nothing there")
        headers = {
            "Content-Type": resource.media,
            "Content-Security-Policy": resource.policy,
        }
        if resource.save_as:
            name = quote(resource.save_as, safe="")
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
        if resource.body is not None:
            return Answer(200, headers, resource.body)
        try:
            return _of_file(resource, headers)
        except (NotServedError, OSError) as error:
            text = tr("There is nothing at this address.")
            return plain_answer(404, text, f"changed since the start: {error}")


def _of_file(resource: Resource, headers: dict[str, str]) -> Answer:
    if resource.folder is None:
        raise NotServedError("no file")
    descriptor, size = resource.folder.open(resource.parts)
    if resource.page is None:
        return Answer(200, headers, file=descriptor, size=size)
    with os.fdopen(descriptor, "rb") as file:
        return Answer(200, headers, resource.page(file.read(min(size, _LONGEST_PAGE))))


def _unknown(request: Request, problem: str) -> Answer:
    """401; a browser that came by a link from elsewhere asks again by itself.

    Its first request does not bring the cookie, which is for requests from our own pages alone;
    the one by which the answer makes it ask again does.
    """
    texts = {
        "no token": tr("These pages need a token. Ask who shares them for a link."),
        "token expired": tr("Your token has ended. Ask who shares these pages for a new link."),
        "token revoked": tr("Your token was taken back. Ask who shares these pages."),
    }
    text = texts.get(problem, tr("This token is not valid. Ask who shares these pages."))
    answer = plain_answer(401, text, problem, WWW_Authenticate="Bearer")
    if problem == "no token" and request.headers.get("sec-fetch-site") == "cross-site":
        answer.headers["Content-Type"] = "text/html; charset=utf-8"
        # A sandbox would keep it from asking again.
        answer.headers["Content-Security-Policy"] = BARE.replace("; sandbox", "")
        page = f'<!doctype html><meta http-equiv="refresh" content="0"><p>{escape(text)}</p>\n'
        answer.body = page.encode()
        answer.size = len(answer.body)
    return answer
