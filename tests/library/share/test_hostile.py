"""A thousand hostile requests: none reads or changes what it should not, and all are logged."""

import hashlib
import itertools
import random
import socket
import stat
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import quote

import pytest
from guest_server import CANARY, made_run, request, send, serving

from mlx_probe.library.share.audit import hidden
from mlx_probe.library.share.guests import invite, revoke
from mlx_probe.library.share.tokens import Token, load_secret, sign

COUNT = 1000
PREFIX = "/tiny/files/"
# Names that a path outside begins or ends with.
GOALS = (
    *("outside/secret.txt", "etc/passwd", "runs/tiny/.env", "data/share/secret"),
    *("data/share/guests.json", "audit.jsonl", "runs/tiny/run_meta.json"),
)
ENCODINGS = (
    lambda text: text,
    lambda text: text.replace(".", "%2e").replace("/", "%2f"),
    lambda text: text.replace(".", "%252e").replace("/", "%252f"),
    lambda text: text.replace("/", "\\"),
    lambda text: text.replace("/", "%5c"),
    lambda text: text.replace(".", "%c0%ae").replace("/", "%c0%af"),
    lambda text: text.replace("..", "..;"),
    lambda text: text.replace("../", "....//"),
    lambda text: text.replace(".", "%u002e"),
    lambda text: quote(quote(text, safe=""), safe=""),
)


class Case:
    """What is sent, and what may come back."""

    def __init__(self, pieces, statuses, guest="", ends=False):
        self.pieces, self.statuses, self.guest, self.ends = pieces, statuses, guest, ends


def hostile(random, good, bad, port, root):
    """Cases of all kinds without an end."""

    def traversal():
        text = "../" * random.randrange(1, 9) + random.choice(GOALS)
        base = random.choice(("/", PREFIX, f"{PREFIX}plots/", "/tiny/", "/static/"))
        return random.choice(ENCODINGS)(text), base

    def target():
        text, base = traversal()
        kind = random.randrange(8)
        if kind == 0:
            return quote(f"{root}/{random.choice(GOALS)}")
        if kind == 1:
            return f"file://{root}/{random.choice(GOALS)}"
        if kind == 2:
            return f"http://localhost{base}{text}"
        if kind == 3:
            return f"{PREFIX}notes.md%00{text}"
        if kind == 4:
            return f"//{text}"
        if kind == 5:
            names = (".env", ".git/notes.txt", "link.txt", "linked/secret.txt", "hard.txt")
            more = ("pipe.txt", "model.safetensors", "analyze.log", "page.html", "swapped.txt")
            return f"{PREFIX}{random.choice((*names, *more, 'swapped/inner.txt'))}"
        if kind == 6:
            return f"{PREFIX}notes.md/{text}?{text}#{text}"
        return base + text

    bearer = f"Authorization: Bearer {good}"

    def paths():
        asked = target()
        statuses = {404} if asked.startswith("/") else {400}
        return Case([request(asked, bearer)], statuses, "ada" if 404 in statuses else "")

    def raw_bytes():
        junk = bytes(random.randrange(256) for _ in range(random.randrange(1, 60)))
        asked = b"/" + junk.replace(b"\n", b"") + b"\0/../" + GOALS[0].encode()
        return Case([request(asked, bearer)], {400})

    def long():
        if random.random() < 0.5:
            return Case([request("/" + "a/../" * 1500, bearer)], {414})
        return Case([request("/", bearer, f"X: {'y' * 40_000}")], {431, 0})

    def methods():
        names = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
        return Case([request(f"{PREFIX}notes.md", bearer, method=random.choice(names))], {405})

    def tokens():
        token = random.choice(bad)()
        where = random.randrange(3)
        page = random.choice(("/", f"{PREFIX}notes.md", "/tiny/report.html"))
        if where == 0:
            return Case([request(f"{page}?token={quote(token, safe='')}")], {401})
        line = f"Authorization: Bearer {token}" if where == 1 else ""
        line = line or f"Cookie: other=1; mlx_probe_guest_{port}={token}"
        return Case([request(page, line)], {401})

    def hosts():
        names = ("evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "a@localhost", "")
        return Case([request("/", bearer, host=random.choice(names))], {421, 400})

    def smuggled():
        inner = request(f"{PREFIX}notes.md", bearer)
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
        heads = (
            (f"Content-Length: {len(inner)}",),
            ("Transfer-Encoding: chunked",),
            ("Content-Length: 4", "Transfer-Encoding: chunked"),
            ("Transfer-Encoding: xchunked",),
            ("Content-Length: 5", "Content-Length: 6"),
            ("Content-Length: -1",),
            ("Content-Length: 99999999999",),
            ("Content-Length: +0",),
            ("Transfer-Encoding : chunked",),
            ("Host: evil.example",),
        )
        chosen = random.choice(heads)
        body = chunked if "chunked" in chosen[-1] else inner
        return Case([request("/", bearer, *chosen) + body], {400, 501})

    def pipelined():
        second = request(f"{PREFIX}notes.md", bearer, method=random.choice(("GET", "DELETE")))
        return Case([request("/nothing", bearer) + second * random.randrange(1, 4)], {404}, "ada")

    def injected():
        text = random.choice(("%0d%0aSet-Cookie:%20x=1", "%0aLocation:%20//evil.example"))
        line = '"},{"event":"request","status":200,"guest":"root"}'
        agent = f"User-Agent: {line}\tx\u00e9"
        if random.random() < 0.5:
            return Case([request(f"/{text}", bearer, agent)], {404}, "ada")
        return Case([request(f"//evil.example/{text}?token={good}", agent)], {303}, "ada")

    def malformed():
        lines = (
            *(
                b"GET\r\n\r\n",
                b"GET / HTTP/9.9\r\n\r\n",
                b"\r\n\r\n\r\n",
                b"GET / HTTP/1.1\r\n\r\n",
            ),
            *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
            *(b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n", b"GET /\r\n", b"\0" * 50),
            b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n",
        )
        return Case([random.choice(lines)], {400, 0, 421, 401, 505}, ends=True)

    makers = (paths, paths, paths, paths, raw_bytes, long, methods, tokens, tokens, hosts)
    makers += (smuggled, pipelined, injected, malformed)
    while True:
        yield random.choice(makers)()


def wrong_tokens(folder, good):
    """Tokens that open nothing: forged, ended, taken back, of other guests, and no tokens."""
    secret, now = load_secret(folder), int(time.time())
    taken, _ = invite("eve", 3600, folder)
    revoke("eve", folder)
    stranger, _ = invite("mallory", 3600, folder)
    name, at = good.split(".")[2], int(good.split(".")[3])
    picks = random.Random(3)

    def flipped():
        where = picks.randrange(len(good))
        other = picks.choice("ABCabc019._-")
        return good if other == good[where] else good[:where] + other + good[where + 1 :]

    return (
        lambda: next(text for text in iter(flipped, None) if text != good),
        lambda: sign(secret, Token("ada", name, now - 1)),
        lambda: sign(secret, Token("root", "0" * 16, now + 3600)),
        lambda: sign(b"x" * 32, Token("ada", name, at)),
        lambda: taken,
        lambda: stranger,
        lambda: good + "=",
        lambda: good[:-1],
        lambda: "mps1.ada.." + "A" * 43,
        lambda: "A" * 3000,
        lambda: "null",
    )


def state_of(*folders):
    """All names below folders with what would tell of a change."""
    found = {}
    for path in itertools.chain.from_iterable(folder.rglob("*") for folder in folders):
        info = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
        digest = hashlib.sha256(content).hexdigest()
        found[path] = (info.st_mode, info.st_size, info.st_mtime_ns, info.st_nlink, digest)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_run(tmp_path_factory.mktemp("hostile"))


def test_a_thousand_hostile_requests(run, tmp_path):
    root = run.parent.parent
    (run / "swapped.txt").write_text("good")
    (run / "swapped").mkdir()
    (run / "swapped" / "inner.txt").write_text("good")
    good, _ = invite("ada", 3600, tmp_path / "data" / "share")
    bad = wrong_tokens(tmp_path / "data" / "share", good)
    with serving(tmp_path, run, tokens=True, only=["ada"], head_timeout=2.0) as served:
        bearer = f"Authorization: Bearer {good}"
        for name in ("swapped.txt", "swapped/inner.txt"):
            assert send(served.port, request(PREFIX + name, bearer)).body == b"good"
        # What is served has become a link that points out.
        (run / "swapped.txt").unlink()
        (run / "swapped.txt").symlink_to(root / "outside" / "secret.txt")
        (run / "swapped" / "inner.txt").unlink()
        (run / "swapped").rmdir()
        (root / "outside" / "inner.txt").write_text(CANARY)
        (run / "swapped").symlink_to(root / "outside", target_is_directory=True)
        folders = (root, tmp_path / "data", tmp_path / "private")
        before, earlier = state_of(*folders), len(served.records())
        cases = list(
            itertools.islice(hostile(random.Random(21), good, bad, served.port, root), COUNT)
        )
        with ThreadPoolExecutor(4) as pool:
            replies = list(
                pool.map(lambda case: send(served.port, *case.pieces, ends=case.ends), cases)
            )
        records = served.records()[earlier:]
        assert send(served.port, request(PREFIX + "notes.md", bearer)).status == 200
    assert state_of(*folders) == before
    # As many records as requests, each with what its client saw.
    assert len(records) == COUNT
    ports = Counter(reply.port for reply in replies)
    by_port = {record["port"]: record for record in records}
    for case, reply in zip(cases, replies, strict=True):
        said = reply.raw.decode("latin-1")
        assert CANARY not in said
        assert "Set-Cookie: x" not in said
        assert reply.raw.count(b"HTTP/1.1 ") <= 1
        if reply.status or 0 not in case.statuses:
            assert reply.status in case.statuses, (case.pieces, said[:300])
        if ports[reply.port] > 1:
            continue  # the system used a client's port again
        record = by_port[reply.port]
        assert record["guest"] == case.guest, (record, case.pieces)
        # A client whose bytes were left unread may lose the answer, but not the record.
        assert reply.status in (record["status"], 0)
        if reply.status:
            assert record["bytes"] == len(reply.body)
            assert (record["reason"] == "") == (reply.status == 200)
        method, _, rest = case.pieces[0].partition(b" ")
        if record["method"]:
            assert record["method"] == method.decode()
            assert record["path"] == hidden(rest.partition(b" HTTP/")[0].decode("latin-1"))
    assert sum(count - 1 for count in ports.values()) < COUNT / 20
    # No token is in the log, and no line is anybody else's.
    log = served.audit.read_text("ascii")
    assert good not in log
    assert len(log.splitlines()) == len(served.records()) + len(served.records("start")) + 1


def test_slow_clients_are_given_up_and_hold_nobody(run, tmp_path):
    big = run / "big.csv"
    with big.open("wb") as file:
        file.truncate(32 << 20)
    limits = {"head_timeout": 0.5, "write_timeout": 0.5}
    with serving(tmp_path, run, connections_of_one=8, **limits) as served:

        def dribble(_):
            """A byte now and then; returns how many it took until the server gave up."""
            with socket.create_connection(("127.0.0.1", served.port)) as client:
                own = client.getsockname()[1]
                for count in range(100):
                    with suppress(ConnectionError):
                        client.sendall(b"GET / HTTP/1.1\r\nX: " if count == 0 else b"y")
                    if own in [each["port"] for each in served.records()]:
                        break
                    time.sleep(0.05)
            return count

        def slow_reader():
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", served.port))
            client.sendall(request("/tiny/files/big.csv"))
            return client

        reader = slow_reader()
        with ThreadPoolExecutor(4) as pool:
            slow = [pool.submit(dribble, number) for number in range(4)]
            # Others are answered meanwhile.
            assert send(served.port, request("/")).status == 200
            ended = [each.result() for each in slow]
        deadline = time.monotonic() + 10
        while not served.records("cut"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        reader.close()
        # More at a time than one address may have are turned away, and logged.
        idle = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(8)]
        refused = send(served.port, request("/"))
        for each in idle:
            each.close()
    # The time is that of the whole request: no byte has made it longer.
    assert max(ended) < 90
    statuses = Counter(record["status"] for record in served.records())
    assert statuses[408] == 4
    assert refused.status in (503, 0)
    assert statuses[503] == 1
    [cut] = served.records("cut")
    [asked] = [each for each in served.records() if each["number"] == cut["number"]]
    assert 0 < cut["bytes"] < asked["bytes"] == 32 << 20
    big.unlink()


def test_a_file_that_becomes_a_link_again_and_again_gives_nothing_away(run, tmp_path):
    path, secret = run / "racing.txt", run.parent.parent / "outside" / "secret.txt"
    path.write_text("good")
    with serving(tmp_path, run) as served:
        ends = time.monotonic() + 0.7

        def flip():
            spare = path.with_name(".racing")
            while time.monotonic() < ends:
                spare.symlink_to(secret)
                spare.replace(path)
                spare.write_text("good")
                spare.replace(path)

        with ThreadPoolExecutor(1) as pool:
            flipping = pool.submit(flip)
            bodies = Counter()
            while time.monotonic() < ends:
                bodies[send(served.port, request(f"{PREFIX}racing.txt")).body] += 1
            flipping.result()
    assert set(bodies) <= {b"good", b"There is nothing at this address.\n"}
    assert bodies[b"good"]
    path.unlink()
