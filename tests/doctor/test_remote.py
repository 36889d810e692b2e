"""Another machine: what was seen of it, and what is to be done."""

import json
import socket
import ssl
import stat
import time
from dataclasses import replace

import pytest
from models import invoke, refuses

from mlx_probe.core.errors import ConfigError
from mlx_probe.doctor.remote import (
    RemoteFacts,
    Target,
    examine_remote,
    gather_remote,
    gathering,
    read_target,
)
from mlx_probe.doctor.remote.facts import Attempt, Lookup, Tailscale, Tls

GOOD = RemoteFacts(
    Target("studio.example", 8321),
    Lookup(("192.168.1.5",), "found", "", 0.002),
    (Attempt("192.168.1.5", "connected", "", (0.02, 0.004, 0.005)),),
)
TAILNET = replace(GOOD, target=Target("studio.t1.ts.net", 8321))
RUNS = Tailscale("Running", "studio.t1.ts.net", True)


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(autouse=True)
def no_tailscale(monkeypatch):
    """Whatever this machine has."""
    monkeypatch.setattr(gathering, "_TAILSCALE", ())


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("studio", "studio", 22),
        ("studio.local:8321", "studio.local", 8321),
        ("192.168.1.5", "192.168.1.5", 22),
        ("192.168.1.5:80", "192.168.1.5", 80),
        ("::1", "::1", 22),
        ("[fd7a::1]:8321", "fd7a::1", 8321),
        ("[fe80::1%en0]", "fe80::1%en0", 22),
    ],
)
def test_what_a_target_is(text, host, port):
    assert read_target(text) == Target(host, port)
    assert read_target(str(Target(host, port))) == Target(host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":80", "a:", "a:0", "a:65536", "a:b", "a:1:2", "http://a", "a/b", "u@a", "a b", "-a"),
        *("[studio]:80", "[::1", "[::1]80", "a\n", "a:٣", "x" * 254),
    ],
)
def test_what_is_no_target(text):
    with pytest.raises(ConfigError, match="no HOST or HOST:PORT"):
        read_target(text)


def findings(facts):
    return {each.check: each for each in examine_remote(facts)}


FAULTS = [
    (
        "name",
        {"lookup": Lookup((), "unknown", "Name or service not known")},
        "no host studio",
        "sp",
    ),
    ("name", {"lookup": Lookup((), "no answer", "no answer within 4 s")}, "looked up", "DNS"),
    ("port", {"attempts": (Attempt("10.0.0.1", "refused"),)}, "refuses", "ssh -L"),
    ("port", {"attempts": (Attempt("10.0.0.1", "no answer"),)}, "does not answer", "firewall"),
    ("port", {"attempts": (Attempt("10.0.0.1", "no route", "x"),)}, "no way to", "Connect"),
    ("port", {"attempts": (Attempt("10.0.0.1", "failed", "odd"),)}, "odd", "both machines"),
    ("tls", {"tls": Tls("", problem="no TLS there: EOF")}, "no TLS", "plain HTTP"),
]


@pytest.mark.parametrize(("check", "change", "fact", "remedy"), FAULTS)
def test_every_failure_has_a_remedy(check, change, fact, remedy):
    fault = findings(replace(GOOD, **change))[check]
    assert fault.status == "error"
    assert fact in fault.fact
    assert remedy in fault.remedy


def test_all_is_well():
    good = findings(replace(TAILNET, tls=Tls("TLSv1.3", 80), tailscale=RUNS))
    assert list(good) == ["name", "port", "latency", "tls", "tailscale"]
    assert {each.status for each in good.values()} == {"ok"}
    assert "5 ms" in good["latency"].fact or "4.5 ms" in good["latency"].fact


def test_what_works_less_well():
    slow = replace(GOOD, attempts=(Attempt("10.0.0.1", "connected", "", (0.9, 0.8)),))
    assert findings(slow)["latency"].status == "warning"
    relayed = findings(replace(slow, target=TAILNET.target, tailscale=RUNS))["latency"]
    assert "tailscale ping" in relayed.remedy
    assert findings(replace(GOOD, tls=Tls("TLSv1.3", 3)))["tls"].status == "warning"
    second = (Attempt("::5", "refused"), *GOOD.attempts)
    statuses = [each.status for each in examine_remote(replace(GOOD, attempts=second))]
    assert "error" not in statuses


@pytest.mark.parametrize(
    ("tailscale", "status", "says"),
    [
        (Tailscale("Stopped"), "error", "tailscale up"),
        (Tailscale("NeedsLogin"), "error", "tailscale login"),
        (Tailscale("", problem="no answer within 4 s"), "warning", "yourself"),
        (Tailscale("Running"), "warning", "share that machine"),
        (replace(RUNS, online=False), "error", "Wake"),
        (replace(RUNS, online=None), "ok", ""),
    ],
)
def test_tailscale(tailscale, status, says):
    found = findings(replace(TAILNET, tailscale=tailscale))["tailscale"]
    assert found.status == status
    assert says in found.remedy
    # Of machines elsewhere nothing is said.
    if not tailscale.peer:
        assert "tailscale" not in findings(replace(GOOD, tailscale=tailscale))


def test_a_tailnet_without_tailscale():
    gone = (Attempt("100.64.1.2", "no answer"),)
    lost = replace(GOOD, lookup=Lookup(("100.64.1.2",), "found"), attempts=gone)
    assert "Install Tailscale" in findings(lost)["tailscale"].remedy
    assert "tailscale" not in findings(TAILNET)


def test_a_port_that_listens(listening):
    facts = gather_remote(Target("localhost", listening))
    assert facts.lookup.outcome == "found"
    assert facts.connected.address == "127.0.0.1"
    assert len(facts.connected.seconds) == 6
    assert facts.connected.latency <= max(facts.connected.seconds)
    assert facts.tls is None


def test_a_port_that_does_not(listening):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    facts = gather_remote(Target("127.0.0.1", port), tls=True)
    assert [each.outcome for each in facts.attempts] == ["refused"]
    assert facts.tls is None


def test_no_tls_there(listening, monkeypatch):
    monkeypatch.setattr(gathering, "TIMEOUT", 0.3)
    facts = gather_remote(Target("127.0.0.1", listening), tls=True)
    assert facts.tls.problem.startswith("no TLS there")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (socket.gaierror(socket.EAI_NONAME, "not known"), "unknown"),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), "no answer"),
        (socket.gaierror(socket.EAI_FAIL, "broken"), "failed"),
        (UnicodeError("label empty"), "unknown"),
    ],
)
def test_lookups_that_fail(monkeypatch, error, outcome):
    def look(*args, **settings):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", look)
    facts = gather_remote(Target("studio", 22))
    assert facts.lookup.outcome == outcome
    assert facts.attempts == ()
    assert findings(facts)["name"].status == "error"


def test_a_lookup_that_hangs(monkeypatch):
    monkeypatch.setattr(gathering, "TIMEOUT", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **settings: time.sleep(0.5) or [])
    began = time.monotonic()
    assert gather_remote(Target("studio", 22)).lookup.said == "no answer within 0.1 s"
    assert time.monotonic() - began < 0.4


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TimeoutError("timed out"), "no answer"),
        (OSError(113, "No route to host"), "no route"),
        (OSError(101, "Network is unreachable"), "no route"),
        (OSError(13, "Permission denied"), "failed"),
    ],
)
def test_connections_that_fail(monkeypatch, error, outcome):
    monkeypatch.setattr(gathering, "_NO_ROUTE", (113, 101))

    def connect(*args, **settings):
        raise error

    monkeypatch.setattr(socket, "create_connection", connect)
    [attempt] = gather_remote(Target("10.0.0.1", 22)).attempts
    assert attempt.outcome == outcome


STATUS = {
    "BackendState": "Running",
    "Self": {"HostName": "mine", "DNSName": "mine.t1.ts.net."},
    "Peer": {
        "a": {
            "HostName": "Studio",
            "DNSName": "studio.t1.ts.net.",
            "TailscaleIPs": ["100.64.1.2"],
            "Online": False,
        },
        "b": None,
    },
}


@pytest.mark.parametrize(
    ("said", "state", "peer"),
    [
        (f"# Warning\n{json.dumps(STATUS)}", "Running", "studio.t1.ts.net"),
        (json.dumps({"BackendState": "Stopped", "Peer": None}), "Stopped", ""),
        (json.dumps({"BackendState": 1}), "", ""),
        ("[]", "", ""),
        ("{", "", ""),
        ("", "", ""),
    ],
)
@pytest.mark.parametrize("host", ["100.64.1.2", "studio"])
def test_what_tailscale_says(tmp_path, monkeypatch, said, state, peer, host):
    (tmp_path / "said").write_text(said)
    program = tmp_path / "tailscale"
    program.write_text(f'#!/bin/sh\n[ "$*" = "status --json" ] && cat {tmp_path}/said\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(gathering, "_TAILSCALE", (str(program),))
    monkeypatch.setattr(gathering, "_connect", lambda address, port: Attempt(address, "refused"))
    monkeypatch.setattr(gathering, "_look_up", lambda target: Lookup(("100.64.1.2",), "found"))
    found = gather_remote(Target(host, 22)).tailscale
    assert (found.state, found.peer) == (state, peer)
    assert bool(found.problem) == (state == "")
    assert found.online is (False if peer else None)


def test_by_the_command(listening):
    result = invoke("doctor", "--remote", f"127.0.0.1:{listening}", COLUMNS="120")
    assert result.exit_code == 0, result.output
    assert "accepts connections" in result.stdout
    shown = json.loads(invoke("doctor", "--remote", f"127.0.0.1:{listening}", "--json").stdout)
    assert (shown["status"], shown["remote"]["target"]["port"]) == ("ok", listening)
    refuses(invoke("doctor", "--remote", "x y"), "no HOST", code=2)
    refuses(invoke("doctor", "--remote", "x", "--offline"), "nothing of this one", code=2)
    refuses(invoke("doctor", "--tls"), "--remote HOST:PORT", code=2)


def test_a_failure_has_an_exit_code(listening):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refuses(invoke("doctor", "--remote", f"127.0.0.1:{port}"), "errors in 1 of 1 findings")


def test_a_certificate_that_nobody_knows(listening, monkeypatch):
    def refuse(self, plain, server_hostname):
        error = ssl.SSLCertVerificationError("no")
        error.verify_message = "self-signed certificate"
        raise error

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", refuse)
    facts = gather_remote(Target("127.0.0.1", listening), tls=True)
    assert facts.tls.problem == "the certificate is refused: self-signed certificate"
