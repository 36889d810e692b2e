"""Looks at another machine, in a few seconds whatever it does."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mlx_probe.doctor.programs import ask
from mlx_probe.doctor.remote.facts import Attempt, Lookup, RemoteFacts, Tailscale, Tls
from mlx_probe.doctor.remote.target import Target

__all__ = ["gather_remote"]

# Seconds for the lookup, and for each connection.
TIMEOUT = 4.0
# Addresses that are tried, and connections to the first that answers.
_ADDRESSES, _REPEATS = 4, 6
_UNKNOWN = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)
_TAILSCALE = ("tailscale", "/Applications/Tailscale.app/Contents/MacOS/Tailscale")


def gather_remote(target: Target, tls: bool = False) -> RemoteFacts:
    """Look at a machine.

    Args:
        target: The machine and port.
        tls: Whether to shake hands.
    """
    lookup = _look_up(target)
    attempts: list[Attempt] = []
    for address in lookup.addresses[:_ADDRESSES]:
        attempts.append(_connect(address, target.port))
        if attempts[-1].outcome == "connected":
            break
    facts = RemoteFacts(target, lookup, tuple(attempts))
    shaken = facts.connected is not None and tls
    return RemoteFacts(
        target,
        lookup,
        facts.attempts,
        _shake_hands(target, attempts[-1].address) if shaken else None,
        _ask_tailscale(target, lookup),
    )


def _look_up(target: Target) -> Lookup:
    if target.is_number:
        return Lookup((target.host,), "found")
    answer: list[Lookup] = []

    def look() -> None:
        began = time.perf_counter()
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            addresses = dict.fromkeys(str(each[4][0]) for each in found)
            took = time.perf_counter() - began
            answer.append(Lookup(tuple(addresses), "found", seconds=took))
        except socket.gaierror as error:
            outcome = "unknown" if error.errno in _UNKNOWN else "failed"
            outcome = "no answer" if error.errno == socket.EAI_AGAIN else outcome
            answer.append(Lookup((), outcome, error.strerror or ""))
        except (OSError, UnicodeError) as error:
            # A name that cannot be asked for, such as one with an empty part.
            answer.append(Lookup((), "unknown", type(error).__name__))

    # A daemon: a lookup can take minutes, and nothing can stop it.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    late = Lookup((), "no answer", f"no answer within {TIMEOUT:g} s", TIMEOUT)
    return answer[0] if answer else late


def _connect(address: str, port: int) -> Attempt:
    seconds: list[float] = []
    try:
        for _ in range(_REPEATS):
            began = time.perf_counter()
            with socket.create_connection((address, port), TIMEOUT):
                seconds.append(time.perf_counter() - began)
    except OSError as error:
        # A server may turn away those that come too often; it has answered.
        if not seconds:
            return Attempt(address, _outcome(error), error.strerror or str(error))
    return Attempt(address, "connected", seconds=tuple(seconds))


def _outcome(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return "no answer"
    return "no route" if error.errno in _NO_ROUTE else "failed"


def _shake_hands(target: Target, address: str) -> Tls:
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection((address, target.port), TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=target.host) as wrapped,
        ):
            until = str((wrapped.getpeercert() or {}).get("notAfter", ""))
            days = None
            if until:
                days = int((ssl.cert_time_to_seconds(until) - time.time()) // 86400)
            return Tls(wrapped.version() or "", days)
    except ssl.SSLCertVerificationError as error:
        return Tls("", problem=f"the certificate is refused: {error.verify_message}")
    except ssl.SSLError as error:
        return Tls("", problem=f"no TLS there: {error.reason or error}")
    except (OSError, ValueError) as error:
        return Tls("", problem=f"no TLS there: {getattr(error, 'strerror', None) or error}")


def _ask_tailscale(target: Target, lookup: Lookup) -> Tailscale | None:
    program = next(filter(None, map(shutil.which, _TAILSCALE)), None)
    if program is None:
        return None
    said, problem = ask([program, "status", "--json"])
    with suppress(ValueError):
        # Warnings may stand before the document.
        status = json.loads(said[max(0, said.find("{")) :])
        if isinstance(status, dict) and isinstance(status.get("BackendState"), str):
            return _read_status(status, target, lookup)
    return Tailscale("", problem=problem or "it does not say its state")


def _read_status(status: Mapping[str, Any], target: Target, lookup: Lookup) -> Tailscale:
    name = target.host.lower().rstrip(".")
    peers = status.get("Peer")
    every = [status.get("Self"), *(peers.values() if isinstance(peers, dict) else ())]
    for peer in filter(lambda each: isinstance(each, dict), every):
        full = str(peer.get("DNSName", "")).lower().rstrip(".")
        names = {full, full.partition(".")[0], str(peer.get("HostName", "")).lower()}
        numbers = peer.get("TailscaleIPs")
        shared = {*lookup.addresses} & {*(numbers if isinstance(numbers, list) else ())}
        if name in names or shared:
            online = peer.get("Online")
            known = online if isinstance(online, bool) else None
            return Tailscale(str(status["BackendState"]), full or name, known)
    return Tailscale(str(status["BackendState"]))
