"""The loader: every window once an epoch, and a state that is (seed, position)."""

import hashlib
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.lab.data.loader import Loader, Prefetcher, TokenStream, windows_in_order
from mlx_probe.lab.data.manifest import Manifest, Shard, Split


def write_tokens(folder, tokens, shard_tokens=1000, dtype="uint16"):
    """A folder of tokens as `tokenize` writes it; the first five are for validation, too."""
    folder.mkdir(exist_ok=True)
    splits = {}
    for split, part in (("train", tokens), ("validation", tokens[:5])):
        shards = []
        for number, first in enumerate(range(0, max(len(part), 1), shard_tokens)):
            data = np.asarray(part[first : first + shard_tokens], f"<u{int(dtype[4:]) // 8}")
            name = f"{split}-{number:05d}.bin"
            (folder / name).write_bytes(data.tobytes())
            shards.append(Shard(name, len(data), hashlib.sha256(data.tobytes()).hexdigest()))
        splits[split] = Split(1, 3 * len(part), len(part), tuple(shards))
    tokenizer = {"vocabulary": 70000, "eos": 0, "files": {}}
    Manifest({}, (), tokenizer, dtype, splits).write(folder)
    return folder


class Windows:
    """Stands for a stream: the tokens are their positions."""

    name, dtype = "tokens", np.dtype(np.uint32)

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def read(self, start, stop):
        assert 0 <= start <= stop <= self.length
        return np.arange(start, stop, dtype=np.uint32)


def straightforward(length, batch, context, seed, position):
    """The definition, without caches: the endless row of epochs, written out."""
    windows = (length - 1) // context
    rows = []
    for number in range(position * batch, (position + 1) * batch):
        order = np.random.Generator(np.random.PCG64([seed, number // windows])).permutation(windows)
        start = order[number % windows] * context
        rows.append(np.arange(start, start + context + 1))
    return np.array(rows)


@given(
    st.integers(2, 300),
    st.integers(1, 9),
    st.integers(1, 20),
    st.integers(0, 5),
    st.integers(0, 40),
)
def test_a_batch_is_a_function_of_seed_and_position(length, batch, context, seed, position):
    if length <= context:
        with pytest.raises(ConfigError, match="do not fill one window"):
            Loader(Windows(length), batch, context, seed)
        return
    loader = Loader(Windows(length), batch, context, seed)
    expected = straightforward(length, batch, context, seed, position)
    # Whatever was asked for before.
    loader.batch_at(position + 3), loader.batch_at(0)
    assert np.array_equal(loader.batch_at(position), expected)


@given(st.integers(20, 300), st.integers(1, 9), st.integers(1, 6), st.integers(0, 5))
def test_an_epoch_has_every_window_once(length, batch, context, epoch):
    loader = Loader(Windows(length), batch, context, seed=1)
    first, last = epoch * loader.windows, (epoch + 1) * loader.windows
    rows = [
        row
        for position in range(first // batch, -(-last // batch))
        for row in loader.batch_at(position)
    ]
    skipped = first % batch
    seen = [row[0] for row in rows[skipped : skipped + loader.windows]]
    assert sorted(seen) == [window * context for window in range(loader.windows)]
    # Every token but the first is a target once, up to the tokens that fill no window.
    targets = np.concatenate([row[1:] for row in rows[skipped : skipped + loader.windows]])
    assert sorted(targets) == list(range(1, loader.windows * context + 1))


@given(st.integers(1, 7), st.integers(1, 12), st.integers(0, 30))
def test_the_ranks_together_have_the_whole_batch(world, batch, position):
    loader = Loader(Windows(100), batch, 7, seed=3)
    whole = loader.batch_at(position)
    parts = [loader.batch_at(position, rank, world) for rank in range(world)]
    for rank, part in enumerate(parts):
        assert np.array_equal(part, whole[rank::world])


def test_epochs_have_different_orders_and_seeds_too():
    loader = Loader(Windows(1001), 100, 10, seed=3)
    assert not np.array_equal(loader.batch_at(0), loader.batch_at(1))
    assert not np.array_equal(
        loader.batch_at(0), Loader(Windows(1001), 100, 10, seed=4).batch_at(0)
    )
    assert loader.epoch_at(3) == 3


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_a_stream_reads_across_shards(tmp_path, dtype):
    tokens = np.random.default_rng(0).integers(0, 60000, 2503)
    folder = write_tokens(tmp_path / "tokens", tokens, 500, dtype)
    stream = TokenStream(folder, "train")
    assert len(stream) == 2503
    assert stream.dtype == np.dtype(dtype)
    for start, stop in (
        (0, 2503),
        (499, 501),
        (500, 500),
        (1000, 2000),
        (2502, 2503),
        (2503, 2503),
    ):
        assert np.array_equal(stream.read(start, stop), tokens[start:stop])
    with pytest.raises(IndexError):
        stream.read(0, 2504)


def test_validation_windows_come_in_order():
    batches = list(windows_in_order(Windows(104), 3, 10))
    assert [len(batch) for batch in batches] == [3, 3, 3, 1]
    assert np.array_equal(np.concatenate(batches)[:, 0], np.arange(10) * 10)
    assert all(np.array_equal(row, np.arange(row[0], row[0] + 11)) for b in batches for row in b)
    # As many windows as hold 41 targets.
    assert sum(len(batch) for batch in windows_in_order(Windows(104), 3, 10, tokens=41)) == 5


def test_the_prefetcher_gives_the_same_batches_and_stops():
    loader = Loader(Windows(500), 4, 8, seed=5)
    with Prefetcher(loader, start=7) as batches:
        for position in range(7, 60):
            assert np.array_equal(next(batches), loader.batch_at(position))
        thread = batches._thread
    assert not thread.is_alive()
    with pytest.raises(StopIteration):
        next(batches)
    batches.close()
    with Prefetcher(loader, start=2, rank=1, world=2) as batches:
        assert np.array_equal(next(batches), loader.batch_at(2)[1::2])


def test_what_the_thread_meets_reaches_the_consumer():
    class Fails:
        def batch_at(self, position, rank, world):
            if position == 3:
                raise OSError(5, "Input/output error")
            return position

    batches = Prefetcher(Fails(), start=1)
    assert [next(batches), next(batches)] == [1, 2]
    with pytest.raises(OSError, match="Input/output"):
        next(batches)
    assert not [t for t in threading.enumerate() if t.name == "prefetcher"]


@pytest.mark.parametrize("cut", [1, 2000])
def test_a_damaged_shard_is_named(tmp_path, cut):
    folder = write_tokens(tmp_path / "tokens", np.arange(1000))
    path = folder / "train-00000.bin"
    Manifest.read(folder)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ResultError, match=f"train-00000.bin has {2000 - cut} bytes, not 2000"):
        TokenStream(folder, "train")
    path.write_bytes(b"\1" * 2000)
    TokenStream(folder, "train")
    with pytest.raises(
        ResultError, match=r"train-00000.bin was changed after it was written\n  To"
    ):
        Manifest.read(folder)
    path.unlink()
    with pytest.raises(ResultError, match=r"cannot read .*train-00000.bin"):
        TokenStream(folder, "train")


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"version": 2}', '{"version": 1, "splits": {"train": 3}}', "\xff"]
)
def test_a_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text, "latin-1")
    with pytest.raises(ResultError, match=r"cannot read .*manifest.json"):
        Manifest.read(tmp_path)


def test_a_folder_without_tokens_is_named(tmp_path):
    with pytest.raises(ResultError, match="holds no tokens"):
        TokenStream(tmp_path, "train")
