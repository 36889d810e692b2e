"""One file over a bad connection."""

import hashlib
import random
import threading

import pytest
from hub_models import hasty
from hub_server import TOKEN, Hub, blob_id, commit_of, digest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import SourceError
from mlx_probe.source.transfer import resumable as module
from mlx_probe.source.transfer.destination import open_partial
from mlx_probe.source.transfer.digest import PublishedFile
from mlx_probe.source.transfer.request import Address, shown_address
from mlx_probe.source.transfer.resumable import Traffic, TransferError, transfer
from mlx_probe.source.transfer.retry import RetryPolicy, retry_after

CONTENT = random.Random(5).randbytes(50_000)
NAME = "model.safetensors"
FILE = PublishedFile(NAME, len(CONTENT), digest(CONTENT))
COMMIT = commit_of("o/nmain")


@pytest.fixture
def mirrors(hub):
    """Starts mirrors that have the file, or another content."""
    hub.repos["o/n"] = {"main": {NAME: CONTENT, "config.json": b"{}"}}
    started = [hub]

    def more(content=CONTENT):
        other = Hub(repos={"o/n": {"main": {NAME: content}}})
        other.start()
        started.append(other)
        return other

    yield more
    for other in started[1:]:
        other.stop()


def at(*hubs, name=NAME, commit=COMMIT):
    return [Address(f"{hub.url}/o/n/resolve/{COMMIT}/{name}", commit=commit) for hub in hubs]


def fetch(tmp_path, addresses, file=FILE, begun=b"", traffic=None, **retry):
    path = tmp_path / "partial"
    if begun:
        path.write_bytes(begun)
    with open_partial(path) as partial:
        done = transfer(file, addresses, partial, hasty(**retry), traffic)
    return done, path.read_bytes()


def test_a_file_comes_in_one_request(hub, mirrors, tmp_path):
    done, content = fetch(tmp_path, at(hub))
    assert content == CONTENT
    assert done == FILE
    assert hub.sent == {NAME: len(CONTENT)}


@pytest.mark.parametrize("begun", [1, 25_000, 49_999, 50_000])
def test_what_is_there_does_not_come_again(hub, mirrors, tmp_path, begun):
    _, content = fetch(tmp_path, at(hub), begun=CONTENT[:begun])
    assert content == CONTENT
    assert hub.sent[NAME] == len(CONTENT) - begun


def test_a_wrong_beginning_is_detected_and_deleted(hub, mirrors, tmp_path):
    _, content = fetch(tmp_path, at(hub), begun=b"x" + CONTENT[1:30_000])
    assert content == CONTENT
    assert hub.sent[NAME] == len(CONTENT) + 20_000


def test_more_than_the_file_is_none_of_it(hub, mirrors, tmp_path):
    assert fetch(tmp_path, at(hub), begun=CONTENT + b"x")[1] == CONTENT


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60_000), st.integers(0, 50_000))
def test_pieces_of_any_length(tmp_path_factory, piece, begun):
    hub = Hub(repos={"o/n": {"main": {NAME: CONTENT}}})
    hub.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "PIECE", max(piece, 2_000))
            patch.setenv("NO_PROXY", "127.0.0.1,localhost")
            folder = tmp_path_factory.mktemp("piece")
            assert fetch(folder, at(hub), begun=CONTENT[:begun])[1] == CONTENT
        assert hub.sent[NAME] == len(CONTENT) - begun
    finally:
        hub.stop()


def test_lost_connections_cost_nothing_that_came(hub, mirrors, tmp_path):
    hub.lost[NAME] = 4
    received = []
    traffic = Traffic(on_bytes=received.append)
    assert fetch(tmp_path, at(hub), traffic=traffic)[1] == CONTENT
    assert hub.sent[NAME] == sum(received) == len(CONTENT)


def test_a_server_without_ranges(hub, mirrors, tmp_path):
    hub.ranges = False
    assert fetch(tmp_path, at(hub), begun=CONTENT[:20_000])[1] == CONTENT
    # It sends all of it again; what was there was kept all the same.
    assert hub.sent[NAME] == len(CONTENT)


def test_git_hashes_are_verified_and_sha256_returned(hub, mirrors, tmp_path):
    file = PublishedFile("config.json", 2, None, blob_id(b"{}"))
    done, content = fetch(tmp_path, at(hub, name="config.json"), file)
    assert (content, done.sha256) == (b"{}", digest(b"{}"))
    hub.repos["o/n"]["main"]["config.json"] = b"[]"
    (tmp_path / "partial").unlink()
    with pytest.raises(TransferError, match=r"config\.json arrives damaged: .* git hash"):
        fetch(tmp_path, at(hub, name="config.json"), file)


def test_a_flipped_byte_never_passes(hub, mirrors, tmp_path):
    other = mirrors(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    other.claims = {NAME: CONTENT}
    with pytest.raises(TransferError, match="arrives damaged") as e:
        fetch(tmp_path, at(other))
    assert digest(CONTENT) in e.value.fact
    assert NAME in e.value.fact
    # Twice, then no more; and nothing of it is left.
    assert other.sent[NAME] == 2 * len(CONTENT)
    assert not (tmp_path / "partial").exists()


def test_after_wrong_bytes_the_next_mirror_is_asked(hub, mirrors, tmp_path):
    other = mirrors(CONTENT[::-1])
    other.claims = {NAME: CONTENT}
    assert fetch(tmp_path, at(other, hub))[1] == CONTENT
    assert (other.sent[NAME], hub.sent[NAME]) == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("lax", ["", "honest", "lying"])
def test_an_old_revision_is_noticed_before_its_bytes_come(hub, mirrors, tmp_path, lax):
    old = mirrors(CONTENT[::-1])
    old.generation, old.lax = "old", lax
    received = []
    traffic = Traffic(on_bytes=received.append)
    assert fetch(tmp_path, at(old, hub), traffic=traffic)[1] == CONTENT
    assert sum(received) == len(CONTENT)
    (tmp_path / "partial").unlink()
    with pytest.raises(SourceError if lax else OSError) as e:
        fetch(tmp_path, at(old))
    reason = {"honest": "it serves commit", "lying": "it serves another file", "": "404"}[lax]
    assert reason in str(e.value)


def test_a_mirror_that_is_down_costs_no_wait(hub, mirrors, tmp_path):
    down = mirrors()
    address = at(down)
    down.stop()

    def never(seconds):
        raise AssertionError("waited")

    assert fetch(tmp_path, [*address, *at(hub)], sleep=never)[1] == CONTENT


def test_between_tries_it_waits_longer_and_longer(hub, mirrors, tmp_path):
    hub.failing = 503
    waits = []
    with pytest.raises(TransferError, match="HTTP status 503") as e:
        fetch(tmp_path, at(hub), sleep=waits.append, random=lambda: 1.0, tries=6, longest_wait=10)
    assert waits == pytest.approx([1, 2, 4, 8, 10], abs=0.5)
    assert e.value.temporary


def test_a_server_that_says_when_is_obeyed(hub, mirrors, tmp_path):
    class Busy:
        left = 2

        def refuse(self, method, path):
            self.left -= 1
            return (429, {"Retry-After": "44"}) if self.left >= 0 else None

        def spoil(self, name, body):
            return None

    hub.faults, waits = Busy(), []
    assert fetch(tmp_path, at(hub), sleep=waits.append)[1] == CONTENT
    assert waits == pytest.approx([44, 44], abs=1)


def test_silence_ends_a_connection(hub, mirrors, tmp_path):
    class Silent:
        over = threading.Event()

        def refuse(self, method, path):
            return None

        def spoil(self, name, body):
            from hub_faults import Fault

            if len(body) < len(CONTENT):
                return None
            return Fault(body[:30_000], {}, lambda: self.over.wait(10))

    hub.faults = Silent()
    try:
        assert fetch(tmp_path, at(hub), timeout=0.2)[1] == CONTENT
    finally:
        Silent.over.set()
    assert hub.sent[NAME] == len(CONTENT)


@pytest.mark.parametrize("header", ["", "bytes 5-9/50000", "bytes 10-49999/50001", "nonsense"])
def test_ranges_that_were_not_asked_for(hub, mirrors, tmp_path, header):
    hub.content_range = header
    with pytest.raises(TransferError):
        fetch(tmp_path, at(hub), begun=CONTENT[:10])
    assert (tmp_path / "partial").read_bytes() == CONTENT[:10]


def test_another_length_is_refused(hub, mirrors, tmp_path):
    longer = mirrors(CONTENT + b"x")
    longer.claims = {NAME: CONTENT}
    with pytest.raises(TransferError, match="50001 bytes, not 50000"):
        fetch(tmp_path, at(longer))


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_without_a_hash_the_length_is_what_there_is(hub, mirrors, tmp_path, size):
    done, content = fetch(tmp_path, at(hub), PublishedFile(NAME, size))
    assert content == CONTENT
    assert done == FILE


def test_an_empty_file(hub, mirrors, tmp_path):
    path = tmp_path / "empty"
    with open_partial(path) as partial:
        file = PublishedFile("x", 0, hashlib.sha256().hexdigest())
        assert transfer(file, at(hub), partial, hasty()) == file
    assert not hub.requests


def test_a_callback_may_stop_it(hub, mirrors, tmp_path):
    def stop(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, at(hub), traffic=Traffic(on_bytes=stop))
    begun = (tmp_path / "partial").read_bytes()
    assert begun
    assert CONTENT.startswith(begun)


def test_a_full_disk(hub, mirrors, tmp_path):
    class Full:
        def seek(self, position):
            pass

        def read(self, count):
            return b""

        def write(self, piece):
            raise OSError(28, "No space left on device")

    with pytest.raises(SourceError, match=r"cannot write model.safetensors: No space left") as e:
        transfer(FILE, at(hub), Full(), hasty())
    assert "Free space" in e.value.remedy


def test_addresses_are_shown_without_secrets():
    shown = shown_address(f"https://me:{TOKEN}@host.test:8443/a/b.gguf?Signature=x#sha256=1")
    assert shown == "https://host.test:8443/a/b.gguf"
    assert TOKEN not in repr(Address(f"https://host/{TOKEN}", {"authorization": TOKEN}))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("-1", None),
        ("9" * 400, 999_999_999.0),
    ],
)
def test_retry_after(header, seconds):
    assert retry_after(header) == seconds


@given(st.integers(1, 5000), st.one_of(st.none(), st.floats(0, 1e9)), st.floats(0, 1))
def test_waits_are_bounded(failures, asked, jitter):
    retry = RetryPolicy(random=lambda: jitter)
    assert 0.5 <= retry.wait(failures, asked) <= 600
