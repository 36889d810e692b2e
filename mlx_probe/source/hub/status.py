"""Whether the Hub answers, and whether it accepts the token. The token itself is not shown."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

__all__ = ["HubStatus", "hub_cache", "hub_settings", "hub_status"]

# Answers of a mirror that does not know the call.
_UNKNOWN_CALL = frozenset({404, 405, 410, 501})
_TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True)
class HubStatus:
    """The Hub as seen from here.

    Attributes:
        endpoint: Its address, without user name and password.
        offline: Whether HF_HUB_OFFLINE forbids asking; nothing was asked then.
        status: HTTP status of the answer; None if there was none.
        problem: Why there was none; "" if there was one, or nothing was asked.
        token: "none", "valid", "refused", "malformed" (cannot be sent), or "unknown": set, but
            not checked.
        token_source: Where a token is set: an environment variable or "stored login"; "" for none.
    """

    endpoint: str
    offline: bool = False
    status: int | None = None
    problem: str = ""
    token: str = "none"
    token_source: str = ""


def hub_cache() -> str:
    """Folder of huggingface_hub's cache."""
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def hub_settings() -> HubStatus:
    """The settings, without a request: endpoint, offline mode, whether there is a token."""
    from huggingface_hub import constants, get_token

    endpoint = os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    token = get_token()
    source = next(
        (name for name in _TOKEN_VARIABLES if os.environ.get(name, "").strip()), "stored login"
    )
    return HubStatus(
        endpoint=_without_credentials(endpoint),
        offline=bool(constants.HF_HUB_OFFLINE),
        token=("unknown" if _can_be_sent(token) else "malformed") if token else "none",
        token_source=source if token else "",
    )


def hub_status(timeout: float) -> HubStatus:
    """Ask the Hub who we are: one request checks the connection and the token.

    Args:
        timeout: Seconds to wait for a connection, and for each part of the answer.
    """
    from huggingface_hub import constants, get_token
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    known = hub_settings()
    if known.offline:
        return known
    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    if not _is_address(endpoint):
        return replace(known, problem="the address is no http or https URL")
    token = get_token()
    headers = {"authorization": f"Bearer {token}"} if known.token == "unknown" else {}
    try:
        answer = get_session().get(f"{endpoint}/api/whoami-v2", headers=headers, timeout=timeout)
    # Any error: those of the library have no common base, and a traceback of one could show the
    # header or the address.
    except Exception as error:
        return replace(known, problem=_why(error, timeout))
    status = int(answer.status_code)
    if status == 200 and not _is_account(answer.content):
        # Networks that want a login answer every request with their own page.
        return replace(known, problem="something answers that is not the Hub")
    if known.token == "unknown" and status not in _UNKNOWN_CALL:
        verdict = {200: "valid", 401: "refused", 403: "refused"}.get(status, "unknown")
        return replace(known, status=status, token=verdict)
    return replace(known, status=status)


def _can_be_sent(token: str) -> bool:
    """Whether a header may hold it; if not, the HTTP library's error would show the token."""
    return re.fullmatch(r"[\x21-\x7e]+", token) is not None


def _is_account(content: bytes) -> bool:
    try:
        account = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(account, dict) and "name" in account


def _is_address(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _without_credentials(endpoint: str) -> str:
    """The address without "user:password@", which some mirrors want, and without a query."""
    scheme, separator, rest = endpoint.partition("://")
    host = (rest if separator else scheme).split("?", 1)[0].rsplit("@", 1)[-1]
    return f"{scheme}://{host}" if separator else host


def _why(error: BaseException, timeout: float) -> str:
    name = type(error).__name__
    # Not the library's message: it may quote the address or a header.
    return f"no answer within {timeout:g} s" if "Timeout" in name else f"no connection ({name})"
