"""Models in several files: any part means all of them, and a missing one is an error."""

import numpy as np
import pytest
from click.testing import CliRunner
from weightfiles import model_files, write_gguf, write_safetensors

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.cli import cli
from mlx_probe.core.errors import CheckpointError, SourceError
from mlx_probe.source import resolve
from mlx_probe.source.parts import part_of
from mlx_probe.source.selection import select_files

ENDS = ("gguf", "safetensors")


def names(end, total=3, stem="m-Q4", first=1):
    return tuple(f"{stem}-{n:05}-of-{total:05}.{end}" for n in range(first, first + total))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("first", [0, 1])
def test_any_part_means_all(tmp_path, end, number, first):
    for name in (*names(end, first=first), "config.json", f"other.{end}"):
        (tmp_path / name).write_bytes(b"{}")
    files = resolve(str(tmp_path / names(end, first=first)[number]))
    assert files.weights == tuple(tmp_path / name for name in names(end, first=first))
    # Whichever part was named, the run is of the same model.
    assert (files.model_id, files.path) == ("m-Q4", files.weights[0])
    assert files.config == tmp_path / "config.json"


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("file", [None, "m-Q4-00003*", "sub/m-Q4-00001*"])
def test_a_missing_part_is_named(tmp_path, end, file):
    first, second, third = names(end)
    folder = tmp_path / "sub"
    folder.mkdir()
    for name in (first, third):
        (folder / name).write_bytes(b"x")
    for text in (folder, folder / first, folder / third):
        with pytest.raises(SourceError, match=f"{second} is missing"):
            resolve(str(text))
    # A repository or a package.
    with pytest.raises(SourceError, match=f"{second} is missing") as error:
        select_files(dict.fromkeys([f"sub/{first}", f"sub/{third}"], 1), "M", file and f"*{file}")
    assert "all parts" in error.value.remedy


def test_more_missing_parts_are_counted():
    with pytest.raises(SourceError, match=r"of-00009\.gguf and 5 more are missing"):
        select_files({names("gguf", 9)[4]: 1}, "M")


def test_a_name_may_claim_any_number_of_parts():
    with pytest.raises(SourceError, match="and 9996 more"):
        select_files({"m-00001-of-999999999.gguf": 1}, "M")
    with pytest.raises(SourceError, match="are missing"):
        select_files({"m-00003-of-00002.gguf": 1}, "M", "m-00003-of-00002.gguf")
    with pytest.raises(SourceError, match="is missing"):
        select_files({"m-00001-of-00000.gguf": 1}, "M", "m-00001-of-00000.gguf")


@pytest.mark.parametrize("file", names("safetensors", 2, "model"))
def test_a_shard_brings_its_index(file):
    shards = names("safetensors", 2, "model")
    index = "model.safetensors.index.json"
    selection = select_files(dict.fromkeys([*shards, index], 1), "M", file)
    assert (selection.weights, selection.index) == (shards, index)


@pytest.mark.parametrize("name", ["llama-7.gguf", "consolidated.01.pth", "m-1-of-2.txt", "m.gguf"])
def test_a_number_alone_is_no_part(name):
    part = part_of(name)
    assert part is None or part.total is None


def split(folder, counts=(3, 3), numbers=(0, 1), tensors=2, stem="tiny"):
    """A GGUF model in two files, as llama-gguf-split writes the metadata."""
    paths = []
    for place, (number, count) in enumerate(zip(numbers, counts, strict=True)):
        path = folder / f"{stem}{place}.gguf"
        keys = {"split__no": number, "split__count": count, "split__tensors__count": tensors}
        write_gguf(path, {f"blk.{place}.attn_q.weight": (np.ones((4, 32), "f4"), "F32")}, **keys)
        paths.append(path)
    return paths


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({}, None),
        ({"numbers": (0, 0)}, "one of them twice"),
        ({"counts": (2, 3)}, "different models"),
        ({"counts": (3, 3)}, "part 1 of 3 of a model; missing: part 3"),
        ({"tensors": 7}, "2 tensors instead of 7"),
        ({"numbers": (0, 2)}, "split.no 2 of 2"),
    ],
)
def test_the_metadata_of_gguf_are_checked(tmp_path, changed, fact):
    paths = split(tmp_path, **{"counts": (2, 2), **changed})
    if fact is None:
        assert len(open_checkpoint(model_files(*paths)).tensors) == 2
    else:
        with pytest.raises(CheckpointError, match=fact):
            open_checkpoint(model_files(*paths))


def test_a_renamed_part_is_refused(tmp_path):
    """The name no longer says it, the metadata do."""
    one, two = split(tmp_path, counts=(2, 2))
    for path, missing in ((one, 2), (two, 1)):
        with pytest.raises(CheckpointError, match=f"missing: part {missing}"):
            open_checkpoint(resolve(str(path)))


@pytest.mark.parametrize("end", ENDS)
def test_one_part_at_an_address_is_refused(end):
    with pytest.raises(SourceError, match=f"{names(end)[1]}"):
        resolve(f"https://host.invalid/x/{names(end)[0]}")


@pytest.mark.parametrize("end", ENDS)
def test_half_a_model_never_ends_with_0(tmp_path, monkeypatch, end):
    monkeypatch.chdir(tmp_path)
    first, second = names(end, 2)
    if end == "gguf":
        for path, name in zip(split(tmp_path, counts=(2, 2)), (first, second), strict=True):
            path.rename(name)
    else:
        for place, name in enumerate((first, second)):
            layer = {f"model.layers.{place}.mlp.up_proj.weight": np.ones((4, 32), "f4")}
            write_safetensors(tmp_path / name, layer)
    whole = CliRunner().invoke(cli, ["analyze", second, "--out", "whole", "-q"])
    assert whole.exit_code == 0, whole.output
    (table,) = (tmp_path / "whole").rglob("*.csv")
    assert len(table.read_text().splitlines()) == 3
    (tmp_path / second).unlink()
    half = CliRunner().invoke(cli, ["analyze", first, "--out", "half", "-q"])
    assert half.exit_code != 0
    assert second in half.output
