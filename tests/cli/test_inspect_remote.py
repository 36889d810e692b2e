import re

import numpy as np
import pytest
from hub_server import TOKEN, hub  # noqa: F401  a fixture
from models import invoke, refuses, write_shards, write_single
from weightfiles import write_gguf

from mlx_probe.source.transfer.remote_file import HEAD

# Of the readers of headers, the GGUF reader reads furthest ahead.
BLOCK = 1 << 20


def write_gguf_model(folder, arrays):
    folder.mkdir()
    kinds = {"float32": "F32", "float16": "F16"}
    stored = {name: (array, kinds[str(array.dtype)]) for name, array in arrays.items()}
    write_gguf(folder / "model.gguf", stored, llama__block_count=2)
    return folder


LAYOUTS = {
    "single": write_single,
    "shards": lambda folder, arrays: write_shards(folder, arrays, 3),
    "gguf": write_gguf_model,
}


@pytest.fixture
def large():
    """Tensors of which each is longer than what may be read with a header."""
    names = ("model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight")
    return {name: np.ones((1 << 10, 1 << 9), np.float32) for name in names}


@pytest.fixture(params=LAYOUTS)
def published(request, hub, large, tmp_path):  # noqa: F811
    """A folder, and the same as a repository called owner/name."""
    folder = LAYOUTS[request.param](tmp_path / "name", large)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.repos["owner/name"] = {"main": files}
    return folder


def told(result):
    """What the output says of the tensors and the network, without where they are."""
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    return [line for line in lines if not re.match(r"(model|path) |read ", line)]


def test_prints_the_same_as_on_disk(published, hub):  # noqa: F811
    remote = invoke("inspect", "--remote", "owner/name", COLUMNS="200")
    assert told(remote) == told(invoke("inspect", published, COLUMNS="200"))
    assert "owner/name at " in remote.stdout
    assert TOKEN not in remote.output


def test_reads_no_more_than_headers(published, hub, tmp_path):  # noqa: F811
    result = invoke("inspect", "--remote", "owner/name", COLUMNS="200")
    assert result.exit_code == 0, result.output
    weights = {p.name: p.stat().st_size for p in published.iterdir() if p.suffix != ".json"}
    for name in weights:
        assert 0 < hub.sent[name] <= (BLOCK if name.endswith(".gguf") else HEAD)
    assert not [path for path in (tmp_path / "hub").rglob("*") if path.name in weights]
    last = result.stdout.splitlines()[-1]
    assert re.fullmatch(r"read [\d.]+ [kM]B of 6\.3 MB over the network", last), last


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("owner/missing", 1, "has no model owner/missing"),
        ("pypi:some-package", 2, "is neither on the Hugging Face Hub nor"),
        (".", 2, "is neither on the Hugging Face Hub nor"),
    ],
)
def test_refusals(hub, text, code, says):  # noqa: F811
    refuses(invoke("inspect", "--remote", text), says, code=code)


def test_damaged_headers_are_reported(hub):  # noqa: F811
    hub.repos["owner/name"] = {"main": {"model.safetensors": b"\xff" * 100}}
    refuses(invoke("inspect", "--remote", "owner/name"), "owner/name/model.safetensors: truncated")


def test_a_server_without_ranges(published, hub):  # noqa: F811
    hub.ranges = False
    refuses(invoke("inspect", "--remote", "owner/name"), "does not send the range", "--remote")
