"""What guests get: pages, files, headers, cookies, limits."""

import os
import re
from pathlib import Path

import pytest
from guest_server import CANARY, get, made_run, request, send, serving
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.share import held
from mlx_probe.library.share.config import ShareConfig
from mlx_probe.library.share.guests import invite, revoke
from mlx_probe.library.share.held import HeldFolder, NotServedError
from mlx_probe.library.share.kinds import check_kinds, kind_of
from mlx_probe.library.share.limits import Connections, RateLimit, network

SECURE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "connection": "close",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_run(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def open_to_all(run, tmp_path_factory):
    """A server on the loopback address without tokens."""
    with serving(tmp_path_factory.mktemp("server"), run) as served:
        yield served


def links(reply):
    return re.findall(r'href="([^"]*)"', reply.body.decode())


def test_all_that_is_offered_is_there_and_nothing_else(open_to_all, run):
    first = get(open_to_all.port, "/")
    assert "/tiny/" in links(first)
    page = get(open_to_all.port, "/tiny/")
    offered = [link for link in links(page) if link.startswith("files/")]
    assert offered == [
        "files/name%C3%A9%20%26%3Cb%3E.txt",
        "files/notes.md",
        "files/params.csv",
        "files/plots/inner%20table.csv",
    ]
    for link in ("report.html", *offered):
        reply = get(open_to_all.port, f"/tiny/{link}")
        assert reply.status == 200, link
        assert CANARY.encode() not in reply.body
        assert reply.headers.items() >= SECURE.items()
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert int(reply.headers["content-length"]) == len(reply.body)
        head = get(open_to_all.port, f"/tiny/{link}", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == reply.headers["content-length"]
    table = get(open_to_all.port, "/tiny/files/params.csv")
    assert table.body == (run / "params.csv").read_bytes()
    assert table.headers["content-disposition"] == "attachment; filename*=UTF-8''params.csv"
    [shared] = open_to_all.shared
    assert shared.left_out == {
        "hidden": 2,
        "a link": 2,
        "a file with several names (hard links)": 1,
        "no regular file": 1,
        "logs": 1,
        "metadata": 2,
        "weights": 1,
        "other kinds of files": 1,
    }


def test_a_document_is_a_page_whose_html_is_text(open_to_all):
    page = get(open_to_all.port, "/tiny/files/notes.md")
    text = page.body.decode()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src" not in page.headers["content-security-policy"]
    assert "<h1>Notes</h1>" in text
    assert "<strong>bold</strong>" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text
    assert 'href="javascript' not in text


def test_the_report_may_run_its_own_scripts_only(open_to_all):
    policy = get(open_to_all.port, "/tiny/report.html", method="HEAD").headers
    policy = policy["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.endswith("; frame-ancestors 'none'")


def test_a_run_is_never_written_to(open_to_all, run):
    get(open_to_all.port, "/tiny/report.html")
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("kind", ["metadata", "logs", "weights"])
def test_what_is_included_on_request(run, tmp_path, kind):
    wanted = {"metadata": "run_meta.json", "logs": "analyze.log", "weights": "model.safetensors"}
    with serving(tmp_path, run, include=[kind]) as served:
        for other, name in wanted.items():
            assert get(served.port, f"/tiny/files/{name}").status == (200 if other == kind else 404)
        assert get(served.port, "/tiny/files/.env").status == 404
        assert get(served.port, "/tiny/files/hard.txt").status == 404


def test_hosts(open_to_all):
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "100.64.3.2:9"):
        assert get(open_to_all.port, "/", host=host).status == 200, host
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "[::1", "a b", ""):
        assert get(open_to_all.port, "/", host=host).status in (400, 421), host
    assert get(open_to_all.port, "/", host=None).status == 400
    old = send(open_to_all.port, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert old.status == 200


def test_tokens_by_address_cookie_and_header(run, tmp_path):
    good, _ = invite("ada", 3600, tmp_path / "data" / "share")
    with serving(tmp_path, run, tokens=True, only=["ada"]) as served:
        port = served.port
        refused = get(port, "/tiny/")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert "refresh" not in refused.body.decode()
        welcome = get(port, f"/tiny/?token={good}")
        assert (welcome.status, welcome.headers["location"]) == (303, "/tiny/")
        cookie = welcome.headers["set-cookie"]
        assert cookie.startswith(f"mlx_probe_guest_{port}={good}; Max-Age=3")
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")
        assert get(port, "/tiny/", f"Cookie: a=b; {cookie.partition(';')[0]}").status == 200
        assert get(port, "/tiny/", f"Authorization: bearer {good}").status == 200
        assert get(port, "/tiny/", f"Authorization: Basic {good}").status == 401
        # Nowhere but to a page of ours.
        for target in ("//evil.example/", "/nothing", "/%0d%0aX:y"):
            assert get(port, f"{target}?token={good}").headers["location"] == "/"
        # A browser that comes from elsewhere keeps the cookie back: it asks again by itself.
        again = get(port, "/tiny/", "Sec-Fetch-Site: cross-site")
        assert again.status == 401
        assert '<meta http-equiv="refresh" content="0">' in again.body.decode()
        assert "sandbox" not in again.headers["content-security-policy"]
        revoke("ada", tmp_path / "data" / "share")
        assert get(port, "/tiny/", f"Authorization: Bearer {good}").status == 401
    seen = [(each["guest"], each["status"], each["reason"]) for each in served.records()]
    assert seen[:3] == [("", 401, "no token"), ("ada", 303, "token taken"), ("ada", 200, "")]
    assert seen[-1] == ("", 401, "token revoked")
    assert good not in served.audit.read_text()


def test_without_tokens_a_wrong_one_is_refused_all_the_same(open_to_all):
    assert get(open_to_all.port, "/?token=x").status == 401
    assert get(open_to_all.port, "/", "Authorization: Bearer x").status == 401
    # A cookie of an earlier server is no claim.
    old = f"Cookie: mlx_probe_guest_{open_to_all.port}=x"
    assert get(open_to_all.port, "/", old).status == 200


def test_the_rate_is_each_guests_own(run, tmp_path):
    ada, _ = invite("ada", 3600, tmp_path / "data" / "share")
    bob, _ = invite("bob", 3600, tmp_path / "data" / "share")
    with serving(tmp_path, run, tokens=True, rate=3) as served:
        as_ada, as_bob = (f"Authorization: Bearer {text}" for text in (ada, bob))
        assert [get(served.port, "/", as_ada).status for _ in range(4)] == [200, 200, 200, 429]
        late = get(served.port, "/", as_ada)
        assert 0 < int(late.headers["retry-after"]) <= 20
        assert get(served.port, "/", as_bob).status == 200
        assert [get(served.port, "/").status for _ in range(4)] == [401, 401, 401, 429]
    assert [each["reason"] for each in served.records()].count("rate limit") == 3


def test_what_came_behind_a_request_is_said(open_to_all):
    reply = send(open_to_all.port, request("/") + b"GET /x HTTP/1.1\r\n\r\n")
    assert reply.status == 200
    assert reply.raw.count(b"HTTP/1.1 ") == 1
    assert open_to_all.records()[-1]["reason"] == "19 bytes behind the request were not read"


def test_a_bug_is_an_answer_and_a_record(open_to_all, monkeypatch, caplog):
    def broken(*args):
        raise RuntimeError("bug")

    monkeypatch.setattr("mlx_probe.library.share.answer.Door._served", broken)
    assert get(open_to_all.port, "/").status == 500
    assert open_to_all.records()[-1]["reason"] == "internal error"
    assert "bug" in caplog.text


def test_who_needs_tokens(tmp_path, run):
    assert not ShareConfig().needs_tokens
    assert ShareConfig(host="0.0.0.0").needs_tokens
    assert ShareConfig(allowed_hosts=("studio.ts.net",)).needs_tokens
    for name in ("http://x", "*.x", "a:80", ""):
        with pytest.raises(ConfigError, match="no name of a host"):
            ShareConfig(allowed_hosts=(name,))
    with pytest.raises(ConfigError, match="nobody could look"), serving(tmp_path, run, tokens=True):
        pass
    with pytest.raises(ConfigError, match="there is no address"):
        ShareConfig(host="nowhere.invalid").needs_tokens  # noqa: B018
    with (
        serving(tmp_path, run) as served,
        pytest.raises(ConfigError, match="cannot listen"),
        serving(tmp_path, run, port=served.port),
    ):
        pass


def test_the_address_of_all_addresses_is_one_that_works(run, tmp_path):
    good, _ = invite("ada", 3600, tmp_path / "data" / "share")
    with serving(tmp_path, run, host="0.0.0.0") as served:
        host = served.server.url.removeprefix("http://").rpartition(":")[0]
        bearer = f"Authorization: Bearer {good}"
        assert get(served.port, "/", bearer, host=f"{host}:{served.port}").status == 200
        assert get(served.port, "/", host=host).status == 401


def test_an_unlocked_door_of_other_names(run, tmp_path):
    good, _ = invite("ada", 3600, tmp_path / "data" / "share")
    with serving(tmp_path, run, allowed_hosts=("Studio.ts.net",)) as served:
        bearer = f"Authorization: Bearer {good}"
        assert get(served.port, "/", bearer, host="studio.ts.net").status == 200
        assert get(served.port, "/", host="studio.ts.net").status == 401


@given(parts=st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_a_held_folder_opens_names_only(tmp_path_factory, parts):
    inner = tmp_path_factory.getbasetemp() / "held" / "inner"
    inner.mkdir(parents=True, exist_ok=True)
    (inner.parent / "out.txt").write_text("x")
    folder = HeldFolder(inner)
    for tried in (parts, ["..", *parts], ["..", "out.txt"], ["../out.txt"]):
        with pytest.raises(NotServedError):
            folder.open(tuple(tried))
    folder.close()


def test_a_file_that_becomes_a_link_between_look_and_open(tmp_path, monkeypatch):
    (tmp_path / "out.txt").write_text(CANARY)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "x.txt").write_text("good")
    folder, look = HeldFolder(shared), os.stat

    def swapping(*args, **settings):
        state = look(*args, **settings)
        (shared / "x.txt").unlink()
        (shared / "x.txt").symlink_to(tmp_path / "out.txt")
        return state

    monkeypatch.setattr(os, "stat", swapping)
    with pytest.raises(NotServedError):
        folder.open(("x.txt",))
    folder.close()


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(held, "_MOST", 3)
    for number in range(4):
        (tmp_path / str(number)).touch()
    with pytest.raises(ResultError, match="more than 3 files"):
        list(HeldFolder(tmp_path).files())


def descriptors():
    return len(list(Path("/dev/fd").iterdir()))


def test_folders_below_are_counted_and_not_too_deep(tmp_path):
    deepest = tmp_path.joinpath(*"abcdefghijklmnopqrst")
    deepest.mkdir(parents=True)
    (deepest / "x.csv").touch()
    before = descriptors()
    folder = HeldFolder(tmp_path)
    assert [found.left_out for found in folder.files()] == ["too deep"]
    folder.close()
    assert descriptors() == before


def test_kinds():
    assert kind_of("a.CSV") == "tables"
    assert kind_of("params.partial.jsonl") is None
    assert [kind_of(name) for name in ("csv", "a.html", "a.csv.gz", "a.")] == [None] * 4
    with pytest.raises(ConfigError, match="Did you mean weights"):
        check_kinds(["weight"])


def test_buckets_fill_again():
    now = 0.0
    limit = RateLimit(60, lambda: now)
    assert [limit.wait("a") for _ in range(61)] == [0] * 60 + [1]
    now = 2.0
    assert [limit.wait("a") for _ in range(3)] == [0, 0, 1]
    for number in range(5000):
        assert limit.wait(f"b{number}") == 0
    assert len(limit._buckets) == 4096


def test_connections_are_counted():
    open_now = Connections(3, 2)
    assert [open_now.enter(key) for key in "aaabb"] == [True, True, False, True, False]
    open_now.leave("a")
    assert [open_now.enter(key) for key in "bc"] == [True, False]


def test_networks():
    assert network("2001:db8::1") == network("2001:db8::ffff") == "2001:db8::/64"
    assert network("::ffff:10.0.0.1") == "10.0.0.1"
    assert network("fe80::1%eth0") == "fe80::/64"
