"""A Hugging Face Hub on the loopback interface: what huggingface_hub asks of it, no more."""

import hashlib
import json
import re
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_a_secret_that_no_message_shows"
SIGNATURE = "key_to_a_file_that_no_message_shows"
LARGE = (".safetensors", ".gguf", ".bin", ".onnx")


def commit_of(revision):
    return hashlib.sha1(revision.encode()).hexdigest()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def blob_id(data):
    """Git's name for a content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def etag_of(name, data):
    """The Hub's name for a content: by SHA-256 only where it is in its large-file storage."""
    return digest(data) if name.endswith(LARGE) else blob_id(data)


def metadata_of(name, data):
    """What `files_metadata=True` adds to a file of a repository's list."""
    if not name.endswith(LARGE):
        return {"size": len(data), "blobId": blob_id(data)}
    lfs = {"sha256": digest(data), "size": len(data), "pointerSize": 134}
    return {"size": len(data), "blobId": blob_id(lfs["sha256"].encode()), "lfs": lfs}


@dataclass
class Hub:
    """Repositories to serve, and what was asked for.

    Attributes:
        repos: Repository id -> branch -> file name -> content.
        gated: Repositories whose files are refused.
        short: Files of which half is sent, as though it were all.
        dropped: Files of which half is sent before the connection closes.
        lost: Files, and how many more of their ranges break off in the middle.
        ranges: Whether ranges are served; otherwise whole files are sent.
        content_range: Content-Range to claim instead of the true one.
        failing: Status to answer everything with; 0 for none.
        refusing: Status to answer with where files lie, apart from the Hub; 0 for none.
        sizes: Whether the list of files has their sizes.
        requests: Method and path of every request.
        tokens: Host of the requests, and what they authorized themselves with.
        sent: Bytes of each file's content that were sent.
        faults: What goes wrong with answers; None for nothing (see `hub_faults`).
        pace: Seconds between pieces of 4 kB; 0 to send all at once.
        generation: Tells apart the commits of mirrors that are not at the same one.
        modified: When the repositories were last changed.
        lax: Whether every revision asked for is answered with the one that is there: "" not,
            "honest" telling so, "lying" as though it were the one asked for.
        claims: Contents by name whose hashes are listed instead of those of what is sent.
    """

    repos: dict = field(default_factory=dict)
    gated: set = field(default_factory=set)
    short: set = field(default_factory=set)
    dropped: set = field(default_factory=set)
    lost: Counter = field(default_factory=Counter)
    ranges: bool = True
    content_range: str | None = None
    failing: int = 0
    refusing: int = 0
    sizes: bool = True
    requests: list = field(default_factory=list)
    tokens: set = field(default_factory=set)
    sent: Counter = field(default_factory=Counter)
    faults: object = None
    pace: float = 0.0
    generation: str = ""
    modified: str = "2026-01-02T03:04:05.000Z"
    lax: str = ""
    claims: dict = field(default_factory=dict)
    server: ThreadingHTTPServer | None = None

    def start(self):
        self.server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self})
        )
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def cdn(self):
        return f"http://localhost:{self.server.server_port}/cdn"

    def downloaded(self):
        """Names of the files whose content was asked for."""
        names = [path.rsplit("/", 1)[1] for method, path in self.requests if method == "GET"]
        served = {name for repo in self.repos.values() for files in repo.values() for name in files}
        return sorted(set(names) & {name.rsplit("/", 1)[-1] for name in served})

    def files(self, repo, revision):
        """Commit and files of a branch, or of a commit."""
        for branch, files in self.repos[repo].items():
            commit = commit_of(repo + branch + self.generation)
            if revision in (branch, commit):
                return commit, files
        if self.lax:
            return revision if self.lax == "lying" else commit, files
        return None, None


class Handler(BaseHTTPRequestHandler):
    # HTTP/1.0, which keeps no connection open: once stopped, the server is gone for good.
    hub: Hub

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        host = self.headers["Host"].split(":")[0]
        self.hub.tokens.add((host, self.headers.get("Authorization")))
        if self.hub.failing:
            self.send(self.hub.failing)
        elif self.hub.faults and (refusal := self.hub.faults.refuse(self.command, path)):
            self.send(*refusal)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/refs", path):
            self.send_refs(match[1])
        elif match := re.fullmatch(
            r"/api/(?:models|datasets)/([^/]+/[^/]+)(?:/revision/(.+))?", path
        ):
            self.on_files(match[1], match[2] or "main", self.send_info)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/(.+)", path):
            self.on_files(match[1], match[2], self.send_tree)
        elif match := re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.on_files(match[1], match[2], self.send_resolved, match[3])
        elif match := re.fullmatch(r"/cdn/([^/]+/[^/]+)/([^/]+)/(.+)", path):
            _, files = self.hub.files(match[1], match[2])
            if self.hub.refusing:
                self.send(self.hub.refusing)
            else:
                self.send_content(match[3], files[match[3]])
        else:
            self.send(501)

    def on_files(self, repo, revision, send, *arguments):
        if repo not in self.hub.repos:
            # The Hub says 401 to strangers, so that private and missing look alike.
            return self.send(401, {"X-Error-Code": "RepoNotFound"})
        commit, files = self.hub.files(repo, revision)
        if files is None:
            return self.send(404, {"X-Error-Code": "RevisionNotFound"})
        return send(repo, commit, files, *arguments)

    def send_info(self, repo, commit, files):
        siblings = [
            {"rfilename": name, **(metadata_of(name, data) if self.hub.sizes else {})}
            for name, data in files.items()
        ]
        # A list of files is of its own commit, whatever was asked for.
        if self.hub.lax:
            commit, _ = self.hub.files(repo, next(iter(self.hub.repos[repo])))
        answer = {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings}
        self.send_json({**answer, "lastModified": self.hub.modified})

    def send_refs(self, repo):
        if repo not in self.hub.repos:
            return self.send(401, {"X-Error-Code": "RepoNotFound"})
        branches = [
            {
                "name": name,
                "ref": f"refs/heads/{name}",
                "targetCommit": self.hub.files(repo, name)[0],
            }
            for name in self.hub.repos[repo]
        ]
        return self.send_json({"branches": branches, "converts": [], "tags": []})

    def send_tree(self, repo, commit, files):
        self.send_json(
            [
                {"type": "file", "path": name, "size": len(data), "oid": blob_id(data)}
                for name, data in files.items()
            ]
        )

    def send_resolved(self, repo, commit, files, name):
        if repo in self.hub.gated:
            return self.send(403, {"X-Error-Code": "GatedRepo"})
        if name not in files:
            return self.send(404, {"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": commit}
        if not name.endswith(LARGE):
            return self.send_content(name, files[name], headers)
        claimed = self.hub.claims.get(name, files[name])
        headers["X-Linked-Size"] = str(len(claimed))
        headers["X-Linked-Etag"] = f'"{digest(claimed)}"'
        # Another host, as in reality: huggingface_hub follows only redirects within its own.
        headers["Location"] = f"{self.hub.cdn}/{repo}/{commit}/{name}?Signature={SIGNATURE}"
        return self.send(302, headers)

    def send_content(self, name, data, headers=()):
        headers = {"ETag": f'"{etag_of(name, data)}"', "Accept-Ranges": "bytes", **dict(headers)}
        status, start, stop = 200, 0, len(data)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match and self.hub.ranges:
            status, start = 206, int(match[1])
            stop = min(int(match[2]) + 1, stop) if match[2] else stop
            true = f"bytes {start}-{stop - 1}/{len(data)}"
            told = self.hub.content_range
            headers["Content-Range"] = true if told is None else told
        body = data[start:stop]
        if self.hub.faults and self.command == "GET":
            fault = self.hub.faults.spoil(name, body)
            if fault is not None:
                self.hub.sent[name] += len(fault.body)
                headers.update(fault.headers)
                return self.send(status, headers, body, fault.body, fault.stall)
        if name in self.hub.short:
            body = body[: len(body) // 2]
        half = data[start : len(data) // 2] if name in self.hub.dropped else None
        if self.hub.lost[name] > 0:
            self.hub.lost[name] -= 1
            half = body[: len(body) // 2]
        if self.hub.pace and self.command == "GET":
            return self.send(status, headers, body, counted=name)
        self.hub.sent[name] += len(body if half is None else half)
        return self.send(status, headers, body, half)

    def send_json(self, content):
        self.send(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def send(self, status, headers=(), body=b"", instead=None, stall=None, counted=None):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **dict(headers)}.items():
            self.send_header(key, value)
        # A client may leave in the middle of what it did not ask for.
        with suppress(ConnectionError):
            self.end_headers()
            if self.command != "GET":
                return
            body = body if instead is None else instead
            if not self.hub.pace:
                self.wfile.write(body)
            else:
                for start in range(0, len(body), 4096):
                    self.wfile.write(body[start : start + 4096])
                    if counted:
                        self.hub.sent[counted] += len(body[start : start + 4096])
                    time.sleep(self.hub.pace)
            if stall is not None:
                # Says no more, and does not hang up either.
                stall()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A running Hub that huggingface_hub uses, with a cache of its own and a token."""
    from huggingface_hub import constants

    hub = Hub()
    hub.start()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield hub
    hub.stop()
