import io
import json
import logging
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from hub_server import SIGNATURE, TOKEN, commit_of
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError, ProbeError, SourceError
from mlx_probe.source import SOURCES, parse_reference, resolve
from mlx_probe.source.transfer.remote_file import HEAD, RemoteFile, RemoteOpener

NAME = "model.safetensors"
CONTENT = bytes(i * i % 251 for i in range(3 * HEAD + 17))


@pytest.fixture
def repo(hub):
    """A repository of one weight file, longer than what is read at once."""
    files = {NAME: CONTENT, "config.json": b"{}"}
    hub.repos["owner/name"] = {"main": files, "v2": {NAME: CONTENT[::-1]}}
    return files


@pytest.fixture
def no_sleep(monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setattr("mlx_probe.source.transfer.retry.time.sleep", lambda seconds: None)


def opened(text="owner/name", revision=None):
    files = resolve(text, revision, remote=True)
    return files, files.opener(files.weights[0])


def head_of(text, remote=True):
    files = resolve(text, remote=remote)
    return files.opener(files.weights[0]).read(8)


def cached(tmp_path):
    return sorted(path.name for path in (tmp_path / "hub").rglob("*") if path.is_symlink())


def test_weights_stay_where_they_are(hub, repo, tmp_path):
    files, file = opened()
    with file:
        assert file.read(8) == CONTENT[:8]
    assert (files.model_id, files.revision) == ("owner/name", commit_of("owner/namemain"))
    assert [path.name for path in files.weights] == [NAME]
    assert files.config.read_bytes() == b"{}"
    assert cached(tmp_path) == ["config.json"]
    assert not files.weights[0].exists()
    assert hub.sent[NAME] == files.opener.fetched == HEAD
    assert sum(files.opener.sizes.values()) == len(CONTENT)


def test_shards_lie_beside_their_index(hub, tmp_path):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = "model.safetensors.index.json"
    weight_map = {"weight_map": {"a": shards[1], "b": shards[0]}}
    hub.repos["owner/name"] = {
        "main": {
            index: json.dumps(weight_map).encode(),
            **dict.fromkeys(shards, CONTENT),
        }
    }
    files, _ = opened()
    assert files.weights == tuple(files.index.parent / shard for shard in shards)
    assert cached(tmp_path) == [index]
    assert sum(files.opener.sizes.values()) == 2 * len(CONTENT)
    assert not hub.sent.keys() & set(shards)


def test_one_file_alone_caches_nothing(hub, weights, tmp_path):
    hub.repos["owner/name"] = {"main": {"a.gguf": weights, "b.gguf": weights[::-1]}}
    files, file = opened("owner/name:b.gguf")
    assert file.read() == weights[::-1]
    assert [str(path) for path in files.weights] == ["owner/name/b.gguf"]
    assert (files.index, files.config) == (None, None)
    assert cached(tmp_path) == []


@pytest.mark.parametrize("revision", ["v2", commit_of("owner/namev2")])
def test_reads_the_revision(hub, repo, revision):
    files, file = opened(revision=revision)
    assert file.read(4) == CONTENT[::-1][:4]
    assert files.revision == commit_of("owner/namev2")


def test_a_branch_that_moves_afterwards_changes_nothing(hub, repo):
    _, file = opened()
    repos, before = hub.repos["owner/name"], commit_of("owner/namemain")
    hub.files = lambda repo, revision: (before, None if revision == "main" else repos["main"])
    assert file.read(4) == CONTENT[:4]


class Slices(RemoteOpener):
    """Ranges of bytes at hand."""

    def __init__(self, data):
        super().__init__({}, nullcontext)
        self.data, self.asked = data, []

    def read(self, path, first, last):
        self.asked.append((first, last))
        return self.data[first:last]


ENDS = (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END)


@settings(deadline=None)
@given(
    st.sampled_from([0, 5, HEAD, len(CONTENT)]),
    st.lists(
        st.one_of(
            st.tuples(st.just("read"), st.integers(-1, 2 * HEAD)),
            st.tuples(st.sampled_from(ENDS), st.integers(-HEAD, 4 * HEAD)),
        )
    ),
)
def test_reads_and_seeks_as_a_file_on_disk(size, steps):
    ours, theirs = RemoteFile(Slices(CONTENT[:size]), NAME, size), io.BytesIO(CONTENT[:size])
    for kind, number in steps:
        if kind == "read":
            assert ours.read(number) == theirs.read(number)
        elif number + {0: 0, 1: theirs.tell(), 2: size}[kind] >= 0:
            assert ours.seek(number, kind) == theirs.seek(number, kind)
        else:
            with pytest.raises(OSError, match="seek to -"):
                ours.seek(number, kind)
        assert ours.tell() == theirs.tell()


@pytest.mark.parametrize(
    ("reads", "asked"),
    [
        ([(0, 24), (0, 8), (8, 1000)], [(0, HEAD)]),
        ([(0, 8), (8, HEAD)], [(0, HEAD), (HEAD, HEAD + 8)]),
        ([(2 * HEAD, 10)], [(2 * HEAD, 2 * HEAD + 10)]),
        ([(len(CONTENT) - 5, 100)], [(len(CONTENT) - 5, len(CONTENT))]),
        ([(len(CONTENT), 100)], []),
        ([(len(CONTENT) + 9, 100)], []),
        ([(7, 0)], []),
    ],
)
def test_nothing_but_the_head_is_read_ahead(reads, asked):
    slices = Slices(CONTENT)
    file = RemoteFile(slices, NAME, len(CONTENT))
    for offset, size in reads:
        file.seek(offset)
        assert file.read(size) == CONTENT[offset : offset + size]
    assert slices.asked == asked


def test_closed_files_read_no_more(hub, repo):
    _, file = opened()
    file.close()
    with pytest.raises(ValueError, match="after close"):
        file.read(1)


def test_threads_share_an_opener(hub, repo):
    files, _ = opened()

    def head(_):
        with files.opener(files.weights[0]) as file:
            return file.read(8)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(head, range(32))) == {CONTENT[:8]}
    assert files.opener.fetched == 32 * HEAD


def test_an_unanswered_size_is_learned(hub, repo):
    hub.sizes = False
    files, file = opened()
    assert file.seek(0, io.SEEK_END) == len(CONTENT)
    assert sum(files.opener.sizes.values()) == len(CONTENT)


@pytest.mark.parametrize("times", [1, 4])
def test_goes_on_where_the_connection_was_lost(hub, repo, times):
    hub.lost[NAME] = times
    files, file = opened()
    file.seek(HEAD)
    assert file.read(1000) == CONTENT[HEAD : HEAD + 1000]
    assert hub.sent[NAME] == files.opener.fetched == 1000


def test_a_range_that_never_comes_whole(hub, repo):
    hub.lost[NAME] = 1000
    _, file = opened()
    with pytest.raises(
        SourceError, match="does not answer for owner/name: the connection broke off"
    ) as e:
        file.read(8)
    assert "connection" in e.value.remedy


def test_answers_that_are_too_short(hub, repo):
    hub.short.add(NAME)
    _, file = opened()
    with pytest.raises(SourceError, match=f"{HEAD // 32 * 31} bytes came of {HEAD}"):
        file.read(8)


@pytest.mark.parametrize("sizes", [True, False])
def test_a_server_without_ranges_is_refused_before_it_sends(hub, repo, sizes):
    hub.ranges, hub.sizes = False, sizes
    files = resolve("owner/name", remote=True)
    with pytest.raises(SourceError, match="does not send the range") as e:
        files.opener(files.weights[0]).read(8)
    assert "--remote" in e.value.remedy
    assert files.opener.fetched == 0


def test_a_whole_file_will_do_where_it_was_asked_for(hub, weights):
    hub.repos["owner/name"] = {"main": {NAME: weights}}
    hub.ranges = False
    _, file = opened()
    assert file.read() == weights


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        ("bytes 5-9/{size}", "does not send the range"),
        ("bytes */{size}", "does not send the range"),
        ("", "does not send the range"),
        ("bytes 0-9/77", "its file has 77 bytes, not"),
    ],
)
def test_other_ranges_than_asked_for(hub, repo, answer, fact):
    hub.content_range = answer.format(size=len(CONTENT))
    _, file = opened()
    with pytest.raises(SourceError, match=fact):
        file.read(8)


@pytest.mark.parametrize(
    ("text", "fact", "remedy"),
    [
        ("owner/missing", "has no model owner/missing, or it is private", "HF_TOKEN"),
        ("owner/name@v3", "owner/name has no revision 'v3'", "branch, tag or full commit"),
        ("owner/gated", "owner/gated is gated", "log in with `hf auth login`"),
        ("owner/quants", "Q4.gguf (4 bytes), Q8.gguf (4 bytes)", "MODEL:FILE"),
        ("owner/hole", "model.safetensors.index.json names gone.safetensors", "revision"),
    ],
)
@pytest.mark.parametrize("remote", [True, False])
def test_refusals_are_those_of_downloads(hub, repo, text, fact, remedy, remote):
    hub.repos["owner/gated"] = {"main": {NAME: CONTENT}}
    hub.repos["owner/quants"] = {"main": {"Q4.gguf": b"GGUF", "Q8.gguf": b"GGUF"}}
    hole = b'{"weight_map": {"a": "gone.safetensors"}}'
    hub.repos["owner/hole"] = {"main": {"model.safetensors.index.json": hole}}
    hub.gated.add("owner/gated")
    with pytest.raises(SourceError) as e:
        head_of(text, remote)
    assert fact in e.value.fact
    assert remedy in e.value.remedy


@pytest.mark.parametrize(
    ("fault", "fact"),
    [
        (403, "the Hub answers 403 for owner/name"),
        (404, "the Hub answers 404 for owner/name"),
        (429, "the Hub does not answer for owner/name: H"),
        (503, "the Hub does not answer for owner/name: H"),
        ("gone", "the Hub does not answer for owner/name: "),
        ("lost", "the Hub does not answer for owner/name: the connection broke off"),
    ],
)
@pytest.mark.parametrize("late", [True, False])
def test_failures_show_no_secret(hub, repo, no_sleep, caplog, capfd, fault, fact, late):
    caplog.set_level(logging.DEBUG)

    def fail():
        if fault == "gone":
            hub.stop()
        elif fault == "lost":
            hub.lost[NAME] = 1000
        elif late:
            hub.refusing = fault
        else:
            hub.failing = fault

    def provoke():
        if not late:
            fail()
        _, file = opened()
        fail()
        file.read(8)

    with pytest.raises(SourceError) as e:
        provoke()
    assert fact in e.value.fact
    shown = "".join(traceback.format_exception(e.value))
    assert SIGNATURE not in str(e.value)
    assert TOKEN not in shown + caplog.text + "".join(capfd.readouterr())


def test_the_token_stays_on_the_hub(hub, repo):
    _, file = opened()
    file.read(8)
    assert hub.tokens == {("127.0.0.1", f"Bearer {TOKEN}"), ("localhost", None)}


def test_offline_is_refused_at_once(hub, repo, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE is set") as e:
        resolve("owner/name", remote=True)
    assert "--remote" in e.value.remedy
    assert hub.requests == []


@pytest.mark.parametrize("text", [".", "pypi:some-package"])
def test_other_sources_are_not_read_over_the_network(text):
    assert SOURCES[parse_reference(text).source].fetch_remote is None
    with pytest.raises(ConfigError, match="is neither on the Hugging Face Hub nor") as e:
        resolve(text, remote=True)
    assert "Drop --remote" in e.value.remedy


def test_an_index_that_leaves_the_folder(hub):
    index = b'{"weight_map": {"a": "../../x.safetensors"}}'
    hub.repos["owner/evil"] = {"main": {"model.safetensors.index.json": index}}
    with pytest.raises(ProbeError, match="outside of the folder"):
        resolve("owner/evil", remote=True)
