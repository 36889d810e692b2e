"""Tokenizing as a job: the same shards for any number of processes and after any interruption."""

import json
import os
import signal
import subprocess
import sys
from itertools import chain

import numpy as np
import pytest
from models import invoke
from token_folders import all_documents, documents_of, sentences, shards

from mlx_probe.core.errors import ConfigError, Interrupted, ResultError, SourceError, Stopped
from mlx_probe.lab.data import shard_corpus as last_reading
from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.encoding import Encoder
from mlx_probe.lab.data.loader import TokenStream
from mlx_probe.lab.data.manifest import Manifest
from mlx_probe.lab.data.tokenizer import load_tokenizer
from mlx_probe.runs.monitor.watch import WatchConfig

LINES = sentences(3000)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join([*LINES, *LINES[:50], " "]), "utf-8")
    return path


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(last_reading, "_GROUP", 2000)
    monkeypatch.setattr(last_reading, "WORTH", 1)


def test_documents_come_back_from_the_tokens(run, text, tmp_path):
    manifest = run(text, document="line")
    assert all_documents(tmp_path / "tokens") == sorted(LINES)
    assert manifest.dropped == {"duplicate": 50, "empty": 1, "no text": 0, "no column": 0}
    held = documents_of(tmp_path / "tokens", "validation")
    train = manifest.splits["train"]
    assert manifest.splits["validation"].documents == len(held)
    assert train.documents == 3000 - len(held)
    assert train.bytes == sum(len(t.encode()) for t in documents_of(tmp_path / "tokens", "train"))
    assert manifest.dtype == "uint16"
    assert (tmp_path / "tokens" / "manifest.json").exists()
    assert not (tmp_path / "tokens" / ".work").exists()
    # Read again, not written again.
    before = (tmp_path / "tokens" / "train-00000.bin").stat().st_mtime_ns
    assert run(text, document="line") == manifest
    assert (tmp_path / "tokens" / "train-00000.bin").stat().st_mtime_ns == before


@pytest.mark.slow
def test_any_number_of_processes_writes_the_same_bytes(run, text, tmp_path, small_groups):
    one = run(text, document="line", shard_tokens=7001)
    three = run(text, document="line", shard_tokens=7001, workers=3, out=tmp_path / "three")
    assert shards(tmp_path / "three") == shards(tmp_path / "tokens")
    assert three.fingerprint == one.fingerprint
    *full, _ = [shard.tokens for shard in one.splits["train"].shards]
    assert len(full) > 2
    assert set(full) == {7001}
    # Shards are one stream: other sizes, the same tokens.
    run(text, document="line", out=tmp_path / "whole")
    streams = [TokenStream(tmp_path / name, "train") for name in ("tokens", "whole")]
    assert np.array_equal(*(stream.read(0, len(stream)) for stream in streams))


def test_the_tokens_are_those_of_the_whole_document(ready):
    tokenizer = load_tokenizer(ready.kind)
    texts = ["\n".join(LINES[i : i + 200]) + "   end " for i in range(0, 600, 200)] * 2
    encoded = Encoder(tokenizer).encode(texts, [False, True] * 3)
    expected = [[*tokenizer.encode(text), tokenizer.eos_id] for text in texts]
    assert np.frombuffer(encoded.train, np.uint16).tolist() == list(chain(*expected[::2]))
    assert np.frombuffer(encoded.validation, np.uint16).tolist() == list(chain(*expected[1::2]))


@pytest.mark.parametrize("kind", ["sentencepiece", "bytes"])
def test_a_tokenizer_is_trained_on_training_documents_only(run, tmp_path, kind):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(sentences(400)), "utf-8")
    tokenizer = TokenizerConfig(kind=kind, sample_bytes=5000)
    manifest = run(path, tokenizer=tokenizer, vocabulary=300, document="line")
    assert manifest.tokenizer["vocabulary"] == 300
    assert all_documents(tmp_path / "tokens") == sorted(sentences(400))
    with pytest.raises(ResultError, match="holds tokens with vocabulary = 300, not 301\n  Choose"):
        run(path, tokenizer=tokenizer, vocabulary=301, document="line")
    with pytest.raises(ConfigError, match="larger than the text allows\n  Choose at most"):
        run(path, tokenizer=tokenizer, vocabulary=60000, out=tmp_path / "large")
    # The first try left nothing in the way.
    run(path, tokenizer=tokenizer, vocabulary=300, document="line", out=tmp_path / "large")
    assert shards(tmp_path / "large") == shards(tmp_path / "tokens")


CHILD = """
import signal
import sys
from pathlib import Path
from mlx_probe.lab.data import shard_corpus
from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
from mlx_probe.lab.data.tokenize import tokenize

if __name__ == "__main__":
    # A shell that starts the tests in the background ignores it for all of them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    shard_corpus._GROUP, shard_corpus.WORTH = 2000, 1
    source, kind, out, workers = sys.argv[1:]
    data = DataConfig((source,), document="line", shard_tokens=7001, workers=int(workers))
    tokenize(
        data, TokenizerConfig(kind=kind), 0, Path(out),
        lambda at: print(at.stage, at.done, at.total, flush=True) or sys.stdin.readline(),
    )
"""


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "signals"), [(1, 9), (2, 9), (2, 2)])
def test_killed_at_any_moment_the_shards_are_the_same(run, text, ready, tmp_path, workers, signals):
    run(text, document="line", shard_tokens=7001)
    out = tmp_path / "killed"
    command = [sys.executable, "-c", CHILD, str(text), ready.kind, str(out), str(workers)]
    for stop in (0.0, 0.3, 0.5):
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=-3
        ) as child:
            for line in child.stdout:
                stage, done, total = line.rsplit(" ", 2)
                if stage == "tokenize" and int(done) >= stop * int(total):
                    child.send_signal(signals)
                    break
                child.stdin.write("\n")
                child.stdin.flush()
            child.wait(60)
        assert not (out / "manifest.json").exists()
    begun = []
    run(
        text,
        document="line",
        shard_tokens=7001,
        out=out,
        on_progress=lambda at: begun.append(at) if at.stage == "tokenize" else None,
    )
    assert begun[0].done > 0.2 * begun[0].total
    assert shards(out) == shards(tmp_path / "tokens")


def test_interrupted_it_says_how_to_go_on(run, text, tmp_path, small_groups):
    def interrupt(at):
        if at.stage == "tokenize" and at.done > at.total // 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"is kept in .*\n  Run the same command again"):
        run(text, document="line", on_progress=interrupt)
    with pytest.raises(ResultError, match="holds tokens with document = 'line', not 'chunk'"):
        run(text, document="chunk")
    # With --overwrite as well it goes on.
    begun = []
    run(text, document="line", overwrite=True, on_progress=begun.append)
    assert next(at for at in begun if at.stage == "tokenize").done > 0
    run(text, document="line", out=tmp_path / "other")
    assert shards(tmp_path / "other") == shards(tmp_path / "tokens")


def test_a_full_disk_loses_nothing(run, text, tmp_path, small_groups, monkeypatch):
    write, room = last_reading.ShardWriter.append, [30]

    def append(self, data):
        room[0] -= 1
        if room[0] < 0:
            write(self, data[:3])  # a part fits
            raise OSError(28, "No space left on device", str(tmp_path / "tokens"))
        write(self, data)

    monkeypatch.setattr(last_reading.ShardWriter, "append", append)
    with pytest.raises(ResultError, match=r"cannot write .*No space left.*\n  Free space"):
        run(text, document="line", shard_tokens=7001)
    monkeypatch.setattr(last_reading.ShardWriter, "append", write)
    run(text, document="line", shard_tokens=7001)
    run(text, document="line", shard_tokens=7001, out=tmp_path / "other")
    assert shards(tmp_path / "other") == shards(tmp_path / "tokens")


def test_a_process_that_dies_is_named(run, text, small_groups, monkeypatch):
    monkeypatch.setattr(last_reading, "encode_groups", lambda *a: _dies(*a))
    with pytest.raises(ResultError, match=r"a process that encodes ended with 1\n  Run the same"):
        run(text, document="line", workers=2)


def _dies(groups, tokenizer, processes):
    from mlx_probe.lab.data.encoding_pool import encode_groups

    # Damaged rather than missing: what is missing is made from older files.
    file = tokenizer.folder / "tokenizer.json"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    try:
        yield from encode_groups(groups, tokenizer, processes)
    finally:
        file.write_bytes(whole)


def test_a_corpus_that_changed_is_refused(run, text, tmp_path):
    run(text, document="line")
    folder = tmp_path / "tokens"
    # Another time, the same content.
    os.utime(text, (1, 1))
    run(text, document="line")
    Manifest.read(folder).refuse_changed_sources()
    text.write_text("\n".join(sentences(3000, seed=1)), "utf-8")
    with pytest.raises(SourceError, match=r"text.txt has changed since it was tokenized\n  Tok"):
        run(text, document="line")
    with pytest.raises(SourceError, match=r"text.txt has changed"):
        Manifest.read(folder).refuse_changed_sources()
    manifest = run(text, document="line", overwrite=True)
    assert all_documents(folder) == sorted(sentences(3000, seed=1))
    # The tokens do without the text.
    text.unlink()
    manifest.refuse_changed_sources()
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    with pytest.raises(ResultError, match=r"tokenizer.json was changed after it was written"):
        Manifest.read(folder)


def test_text_that_changes_meanwhile_is_refused(run, text, small_groups):
    def change(at):
        if at.stage == "tokenize" and at.done > at.total // 2:
            with text.open("a") as file:
                file.write("\nmore")

    with pytest.raises(SourceError, match=r"text.txt has changed since its text was read\n  To"):
        run(text, document="line", on_progress=change)
    with pytest.raises(SourceError, match=r"text.txt has changed since its text was read\n  To"):
        run(text, document="line")
    run(text, document="line", overwrite=True)


def test_files_of_others_stay(run, text, tmp_path):
    folder = tmp_path / "tokens"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(ResultError, match=r"holds files that are not tokens: thesis.tex"):
        run(text)
    run(text, overwrite=True)
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_auto_takes_files_or_chunks(run, tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("\n".join(LINES), "utf-8")
    assert run(path).settings["document"] == "chunk"
    assert run(path, out=tmp_path / "b").splits["validation"].tokens > 65


def test_rules_log_and_samples(run, text, tmp_path):
    with pytest.raises(Stopped, match="stop"):
        run(text, watch=WatchConfig(alert=("disk below 10000TB stop",)))
    run(text, watch=WatchConfig())
    folder = tmp_path / "tokens"
    assert "written:" in (folder / "tokenize.log").read_text()
    assert (folder / "monitor.parquet").exists()
    assert not (folder / "monitor.jsonl").exists()


def test_the_command(text, tmp_path):
    out = tmp_path / "tokens"
    options = ["--out", out, "--vocabulary", "330", "--document", "line", "--workers", "1"]
    done = invoke("data", "tokenize", text, *options)
    assert done.exit_code == 0, done.output
    assert "duplicates: 50, empty: 1" in done.stdout
    again = invoke("data", "tokenize", text, *options, "--json")
    document = json.loads(again.stdout)
    assert document["fingerprint"] == Manifest.read(out).fingerprint
    refused = invoke("data", "tokenize", text, "--out", out, "--document", "page")
    assert refused.exit_code == 2
    assert "document cannot be 'page'" in refused.stderr


assert signal.SIGKILL == 9
assert signal.SIGINT == 2
