"""The audit log: whole lines only, and nothing is served without it."""

import errno
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from guest_server import get, made_run, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import ResultError
from mlx_probe.library.share.audit import AuditError, AuditLog, Entry, hidden, read_audit
from mlx_probe.library.share.guests import invite

FIELDS = {"guest": "", "address": "::1", "status": 404, "bytes": 3, "reason": "nothing there"}


def entry(log, number, path="/", **fields):
    log.append("request", number=number, method="GET", path=path, **{**FIELDS, **fields})


@settings(max_examples=40)
@given(texts=st.lists(st.text(max_size=60), max_size=5))
def test_no_text_makes_another_line(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "any-text.jsonl"
    path.unlink(missing_ok=True)
    log = AuditLog(path)
    for number, text in enumerate(texts):
        entry(log, number, text)
    log.close()
    content = path.read_bytes()
    assert content.isascii()
    assert len(content.splitlines()) == len(texts)
    assert [each.path for each in read_audit(path)] == texts


def test_several_servers_share_it(tmp_path):
    logs = [AuditLog(tmp_path / "audit.jsonl") for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: entry(logs[n % 3], n, "x" * 300), range(150)))
    for log in logs:
        log.close()
    entries = list(read_audit(tmp_path / "audit.jsonl"))
    assert len(entries) == 150
    assert all(isinstance(each, Entry) for each in entries)


def test_what_was_not_taken_whole(tmp_path):
    log, other = (AuditLog(tmp_path / "audit.jsonl") for _ in range(2))
    for each in (log, other):
        entry(each, 1, status=200, bytes=9, reason="")
    log.append("cut", number=1, bytes=4)
    for each in (log, other):
        each.close()
    first, second = read_audit(log.path)
    assert (first.bytes, first.reason) == (4, "not taken whole")
    assert (second.bytes, second.reason) == (9, "")


def test_torn_lines_and_others_are_said(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text('{"event": "request", "ti')
    log = AuditLog(path)
    entry(log, 1)
    log.close()
    with path.open("a") as file:
        file.write('[]\n{"event": "request"}\n{"event": "cut"}\n{"event": "req')
    assert [each and each.status for each in read_audit(path)] == [None, 404, None, None]


def test_tokens_are_hidden(tmp_path):
    text, _ = invite("ada", 60, tmp_path)
    for said in (f"/x?token={text}&a=b", f"GET /?a&TOKEN={text[5:]} HTTP/1.1", f"Cookie: y={text}"):
        assert text[9:] not in hidden(said)
    assert hidden("/x?token=abc&a=b") == "/x?token=…&a=b"
    assert len(hidden("x" * 9999)) == 401


def test_what_is_no_log(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "link", "pipe"):
        with pytest.raises(AuditError, match="nothing is served without the audit log"):
            AuditLog(tmp_path / name)
    with pytest.raises(ResultError, match="--audit FILE"):
        list(read_audit(tmp_path / "none"))


@pytest.mark.parametrize("fault", ["full disk", "deleted"])
def test_nothing_is_served_without_it(tmp_path, monkeypatch, fault):
    run = made_run(tmp_path)
    with serving(tmp_path, run) as served:
        assert get(served.port, "/").status == 200
        whole = served.audit.read_bytes()
        if fault == "deleted":
            served.audit.unlink()
        else:

            def full(file, data):
                # A full disk takes a part.
                file.write(bytes(data)[:10])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            monkeypatch.setattr("mlx_probe.core.files.write_all", full)
        refused = get(served.port, "/")
        assert refused.raw == b""
        # The server ends, and says why.
        deadline = time.monotonic() + 5
        while not served.failures and time.monotonic() < deadline:
            time.sleep(0.02)
        [error] = served.failures
        monkeypatch.undo()
    assert isinstance(error, AuditError)
    assert "nothing is served without the audit log" in error.fact
    if fault == "full disk":
        assert "No space left" in error.fact
        assert "--audit" in error.remedy
        lines = served.audit.read_bytes()
        assert lines.startswith(whole)
        assert [json.loads(line)["event"] for line in lines.splitlines()] == [
            "start",
            "request",
            "stop",
        ]
