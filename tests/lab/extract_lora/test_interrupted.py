"""An extraction that ends early goes on, and ends as an undisturbed one."""

import mlx.core as mx
import numpy as np
import pytest
from lora_adapters import mlx_adapter
from tiny_llm import make_model, make_tokenizer

from mlx_probe.analysis.low_rank import factors
from mlx_probe.core.errors import Interrupted, ResultError
from mlx_probe.lab.extract_lora import maker
from mlx_probe.lab.extract_lora.extract import extract_lora
from mlx_probe.lab.merge import merge_adapter

RANK = 3


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    root = tmp_path_factory.mktemp("pair")
    with mx.stream(mx.cpu):
        base = make_model(root / "base", make_tokenizer(root / "tokenizer"), dim=64, hidden=64)
        mlx_adapter(root / "lora", base, "lora")
    merge_adapter(str(base), str(root / "lora"), root / "merged")
    return base, root / "merged"


def extracted(pair, out, **options):
    settings = {"rank": RANK, "workers": 1, "formats": ["jsonl"], **options}
    return extract_lora(*pair, out=out, **settings)


def content(folder):
    """The bytes of both adapters, and the rows of the tables without their times."""
    files = sorted((folder / "adapter").rglob("*.*"))
    return {path.relative_to(folder): path.read_bytes() for path in files} | {
        name: (folder / f"compare.{name}.jsonl").read_bytes() for name in ("adapter", "tokens")
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, pair):
    folder = tmp_path_factory.mktemp("whole") / "out"
    extracted(pair, folder)
    return content(folder)


def counting(monkeypatch, stop=None):
    """The pairs that are factored; the one after ``stop`` of them raises."""
    made = []

    def factor_pair(pair, *args):
        if stop is not None and len(made) == stop:
            raise KeyboardInterrupt
        made.append(pair.weight.label)
        return factors.factor_pair(pair, *args)

    monkeypatch.setattr(maker, "factor_pair", factor_pair)
    return made


def test_ctrl_c_between_two_matrices(tmp_path, pair, undisturbed, monkeypatch):
    first = counting(monkeypatch, stop=2)
    with pytest.raises(Interrupted):
        extracted(pair, tmp_path / "out")
    assert len(first) == 2
    assert not (tmp_path / "out" / "adapter").exists()
    assert not list((tmp_path / "out").glob("*run_meta.json"))
    rest = counting(monkeypatch)
    run = extracted(pair, tmp_path / "out")
    assert len(rest) == 4
    assert not {*first} & {*rest}
    assert run.meta["resumed_rows"] == 20
    assert content(tmp_path / "out") == undisturbed
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_another_rank_starts_over(tmp_path, pair, monkeypatch):
    counting(monkeypatch, stop=2)
    with pytest.raises(Interrupted):
        extracted(pair, tmp_path / "out")
    with pytest.raises(ResultError, match="unfinished run with other options"):
        extracted(pair, tmp_path / "out", rank=RANK + 1)
    made = counting(monkeypatch)
    run = extracted(pair, tmp_path / "out", rank=RANK + 1, overwrite=True)
    assert len(made) == 6
    assert run.meta["extraction"]["rank"] == RANK + 1
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("where", ["write_peft", "write_mlx"])
def test_a_full_disk(tmp_path, pair, undisturbed, monkeypatch, where):
    def full(*_args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(maker, where, full)
        with pytest.raises(ResultError, match="No space left"):
            extracted(pair, tmp_path / "out")
    assert not (tmp_path / "out" / "adapter").exists()
    made = counting(monkeypatch)
    extracted(pair, tmp_path / "out")
    assert made == []
    assert content(tmp_path / "out") == undisturbed


def test_a_torn_file_of_factors_is_made_again(tmp_path, pair, undisturbed, monkeypatch):
    counting(monkeypatch, stop=2)
    with pytest.raises(Interrupted):
        extracted(pair, tmp_path / "out")
    torn = next((tmp_path / "out").glob(".adapter.*/*.npz"))
    torn.write_bytes(torn.read_bytes()[:100])
    made = counting(monkeypatch)
    extracted(pair, tmp_path / "out")
    assert len(made) == 5
    assert content(tmp_path / "out") == undisturbed


def test_workers_change_nothing(tmp_path, pair, undisturbed):
    extracted(pair, tmp_path / "out", workers=3)
    assert content(tmp_path / "out") == undisturbed


def test_without_memory_for_a_gram_matrix(tmp_path, pair, monkeypatch):
    """The iteration finds the same factors."""
    monkeypatch.setattr(maker, "method_of", lambda *_args: factors.SUBSPACE)
    run = extracted(pair, tmp_path / "out")
    said = run.meta["extraction"]
    assert said["error"] < 1e-6
    assert said["rank"] == RANK


def test_the_method_follows_the_memory(pair):
    from mlx_probe.analysis.compare.pairing import pair_checkpoints
    from mlx_probe.checkpoint import open_checkpoint
    from mlx_probe.source import resolve

    a, b = (open_checkpoint(resolve(str(each))) for each in pair)
    with a, b:
        matrix = next(p for p in pair_checkpoints(a, b) if "q_proj" in p.weight.name)
        most = factors.factor_bytes(matrix, RANK, factors.GRAM)
        assert factors.method_of(matrix, RANK, most) == factors.GRAM
        assert factors.method_of(matrix, RANK, most - 1) == factors.SUBSPACE
        assert np.isfinite(factors.factor_bytes(matrix, None, factors.SUBSPACE))
