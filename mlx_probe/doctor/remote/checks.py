"""The checks of another machine: functions of what was seen, in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from mlx_probe.doctor.checks.finding import Finding, Verdict, ok
from mlx_probe.doctor.remote.facts import Attempt, RemoteFacts
from mlx_probe.doctor.remote.target import Target

__all__ = ["REMOTE_CHECKS", "examine_remote"]

# Seconds above which a connection is slow, and days below which a certificate ends soon.
_SLOW, _SOON = 0.3, 14


def _name(facts: RemoteFacts) -> Iterator[Verdict]:
    lookup, host = facts.lookup, facts.target.host
    if lookup.outcome == "found":
        if not facts.target.is_number:
            found = ", ".join(lookup.addresses)
            yield ok(f"{host} is {found} (looked up in {1000 * lookup.seconds:.0f} ms)")
    elif lookup.outcome == "unknown" and facts.is_in_tailnet:
        remedy = "Check its spelling in `tailscale status`; MagicDNS has to be on in the tailnet"
        yield "error", f"there is no host {host}: {lookup.said}", remedy
    elif lookup.outcome == "unknown":
        remedy = "Check its spelling, or give its number: 192.168.1.5, or 100.101.102.103"
        yield "error", f"there is no host {host}: {lookup.said}", remedy
    else:
        remedy = "Check this machine's own connection and its DNS settings, or give a number"
        yield "error", f"the name {host} cannot be looked up: {lookup.said}", remedy


def _port(facts: RemoteFacts) -> Iterator[Verdict]:
    connected = facts.connected
    for attempt in facts.attempts:
        if attempt.outcome == "connected":
            yield ok(f"{Target(attempt.address, facts.target.port)} accepts connections")
        else:
            fact, remedy = _refused(attempt, facts)
            # Another address works: nothing is wrong that anybody would see.
            yield ("warning" if connected else "error"), fact, remedy


def _refused(attempt: Attempt, facts: RemoteFacts) -> tuple[str, str]:
    at = str(Target(attempt.address, facts.target.port))
    if attempt.outcome == "refused":
        return (
            f"{at} refuses: the machine is there, and nobody listens at that address",
            "Start the server there, and see that it listens at this address: one at 127.0.0.1 "
            "is reached by `ssh -L` only",
        )
    if attempt.outcome == "no answer":
        return (
            f"{at} does not answer",
            "See whether that machine is awake and in the same network or tailnet, and whether "
            "its firewall lets this port in",
        )
    if attempt.outcome == "no route":
        return (
            f"there is no way to {at}: {attempt.said}",
            "Connect this machine to the network, VPN or tailnet of the other one",
        )
    return f"{at}: {attempt.said}", "Check the network of both machines"


def _latency(facts: RemoteFacts) -> Iterator[Verdict]:
    if facts.connected is None:
        return
    took, seconds = facts.connected.latency, facts.connected.seconds
    spread = f"{1000 * min(seconds):.1f} to {1000 * max(seconds):.1f}"
    fact = f"a connection takes {1000 * took:.1f} ms ({len(seconds)} tried, {spread} ms)"
    if took <= _SLOW:
        yield ok(fact)
    elif facts.is_in_tailnet:
        remedy = "`tailscale ping HOST` says whether the way goes through a relay (DERP)"
        yield "warning", fact, remedy
    else:
        yield "warning", fact, "Look for a nearer way: cable instead of wireless, another VPN"


def _tls(facts: RemoteFacts) -> Iterator[Verdict]:
    tls = facts.tls
    if tls is None:
        return
    if tls.problem:
        remedy = "See what listens there; mlx-probe itself speaks plain HTTP, without --tls"
        yield "error", tls.problem, remedy
    elif tls.days is not None and tls.days < _SOON:
        fact = f"{tls.version}; the certificate ends in {tls.days} days"
        yield "warning", fact, "Renew it on that machine"
    else:
        days = "" if tls.days is None else f"; the certificate is good for {tls.days} days"
        yield ok(f"{tls.version}{days}")


def _tailscale(facts: RemoteFacts) -> Iterator[Verdict]:
    tailscale = facts.tailscale
    if tailscale is None:
        if facts.is_in_tailnet and facts.connected is None:
            fact = f"{facts.target.host} is in a tailnet, and there is no Tailscale here"
            yield "error", fact, "Install Tailscale here and log in, or use SSH"
        return
    # Of no interest for other machines.
    if not facts.is_in_tailnet:
        return
    if tailscale.problem:
        remedy = "Run `tailscale status` yourself"
        yield "warning", f"Tailscale does not say its state: {tailscale.problem}", remedy
    elif tailscale.state != "Running":
        remedy = "Log in with `tailscale login`" if "Login" in tailscale.state else ""
        remedy = remedy or "Start it here with `tailscale up`"
        yield "error", f"Tailscale does not run here: {tailscale.state}", remedy
    elif not tailscale.peer:
        fact = f"Tailscale runs here, and {facts.target.host} is not in this tailnet"
        yield "warning", fact, "See `tailscale status`: share that machine with this account"
    elif tailscale.online is False:
        fact = f"Tailscale runs here, and {tailscale.peer} is offline"
        yield "error", fact, "Wake that machine, and start Tailscale there"
    else:
        yield ok(f"Tailscale runs here, and knows {tailscale.peer}")


# By the name that is shown, in the order in which they are shown.
REMOTE_CHECKS: Mapping[str, Callable[[RemoteFacts], Iterator[Verdict]]] = {
    "name": _name,
    "port": _port,
    "latency": _latency,
    "tls": _tls,
    "tailscale": _tailscale,
}


def examine_remote(facts: RemoteFacts) -> list[Finding]:
    """The results of every check, in the order of the table.

    Args:
        facts: From `gather_remote`.
    """
    return [
        Finding(name, *verdict) for name, check in REMOTE_CHECKS.items() for verdict in check(facts)
    ]
