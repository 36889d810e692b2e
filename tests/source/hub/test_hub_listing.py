"""Mirrors of the Hub, and what they say of a repository."""

import json

import pytest
from hub_models import hasty
from hub_server import Hub, commit_of, digest

from mlx_probe.core.errors import SourceError
from mlx_probe.source import parse_reference, resolve
from mlx_probe.source.hub.errors import UnreachableError
from mlx_probe.source.hub.listing import list_repository

NAME = "model.safetensors"


@pytest.fixture
def mirror(hub, weights):
    hub.repos["o/n"] = {"main": {NAME: weights, "config.json": b"{}"}}
    other = Hub(repos={"o/n": {"main": {NAME: weights, "config.json": b"{}"}}})
    other.start()
    yield other
    other.stop()


def listed(*hubs, text="o/n"):
    return list_repository(parse_reference(text), [hub.url for hub in hubs], hasty())


def test_sizes_and_hashes_are_listed(hub, mirror, weights):
    repository = listed(hub)
    assert repository.commit == commit_of("o/nmain")
    assert repository.files[NAME].sha256 == digest(weights)
    assert repository.files["config.json"].blob_id
    assert repository.files["config.json"].sha256 is None
    assert repository.sizes == {NAME: len(weights), "config.json": 2}


def test_the_first_that_answers(hub, mirror):
    hub.failing = 503
    repository = listed(hub, mirror)
    assert repository.endpoints == (hub.url, mirror.url)
    assert [address.url.split("/o/n")[0] for address in repository.request(NAME).addresses] == [
        hub.url,
        mirror.url,
    ]


def test_it_is_asked_again_before_it_is_given_up(hub, mirror):
    hub.failing = 503
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        hub.failing = 503 if len(waits) < 3 else 0

    ref = parse_reference("o/n")
    assert list_repository(ref, [hub.url], hasty(sleep=sleep)).commit
    assert len(waits) == 3
    hub.failing = 503
    with pytest.raises(UnreachableError):
        list_repository(ref, [hub.url], hasty(sleep=lambda seconds: None))


def test_a_mirror_that_is_behind_is_asked_last(hub, mirror):
    mirror.generation, mirror.modified = "old", "2025-01-01T00:00:00.000Z"
    third = Hub(repos=hub.repos)
    third.start()
    try:
        repository = listed(hub, mirror, third)
    finally:
        third.stop()
    assert repository.commit == commit_of("o/nmain")
    assert repository.endpoints[-1] == mirror.url


def test_a_first_mirror_that_is_behind_is_refused(hub, mirror):
    mirror.generation, mirror.modified = "old", "2025-01-01T00:00:00.000Z"
    with pytest.raises(SourceError, match=r"has commit .* of 2026-01-02 .* of 2025-01-01") as e:
        listed(mirror, hub)
    assert "--revision" in e.value.remedy
    # Named, there is nothing to disagree about.
    repository = listed(mirror, hub, text=f"o/n@{commit_of('o/nmain')}")
    assert repository.commit == commit_of("o/nmain")


def test_mirrors_that_disagree_about_one_commit(hub, mirror, weights):
    mirror.repos["o/n"]["main"][NAME] = weights[::-1]
    with pytest.raises(SourceError, match=r"disagree about model\.safetensors of o/n at commit"):
        listed(hub, mirror)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"id": "o/n"},
        {"id": "o/n", "sha": "../../x", "siblings": []},
        {"id": "o/n", "sha": "a" * 40, "siblings": 5},
        {"id": "o/n", "sha": "a" * 40, "siblings": [{}]},
        {"id": "o/n", "sha": "a" * 40, "siblings": [{"rfilename": NAME, "lfs": 5}]},
        {"id": "o/n", "sha": "a" * 40, "siblings": [], "lastModified": "yesterday"},
    ],
)
def test_answers_that_are_not_the_hubs(hub, mirror, monkeypatch, answer):
    def send(self, content):
        self.send(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    monkeypatch.setattr("hub_server.Handler.send_json", send)
    with pytest.raises(SourceError):
        resolve("o/n")


@pytest.mark.parametrize("etag", ["../../evil", "W/weak", "", "a" * 39])
def test_a_mirror_without_hashes_is_refused(hub, mirror, monkeypatch, etag, tmp_path):
    hub.sizes = False
    monkeypatch.setattr("hub_server.etag_of", lambda name, data: etag)
    monkeypatch.setattr("hub_server.digest", lambda data: etag)
    with pytest.raises(SourceError, match=r"does not give the hash of config\.json"):
        resolve("o/n")
    assert not list(tmp_path.rglob("evil*"))


def test_hashes_may_come_with_the_files_themselves(hub, mirror, weights):
    hub.sizes = False
    assert resolve("o/n").weights[0].read_bytes() == weights
