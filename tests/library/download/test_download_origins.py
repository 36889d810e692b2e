"""Folders, addresses and repositories that are hostile: what is written, and what never."""

import logging

import pytest
from hub_faults import Faults
from hub_models import NEEDED, REPO, SHARDS, fetch, make_files, tree
from hub_server import SIGNATURE, TOKEN, digest
from weightfiles import safetensors_bytes

from mlx_probe.core.errors import ConfigError, ProbeError, SourceError
from mlx_probe.library.download import DownloadConfig, verify
from mlx_probe.source import resolve
from mlx_probe.source.manifest import read_manifest

# An address is one file: a part of a model is refused there.
WHOLE = "whole.safetensors"


@pytest.mark.parametrize("fault", ["missing", "gated", "failing", "gone", "damaged"])
@pytest.mark.parametrize("local", [True, False])
def test_the_token_is_nowhere(hub, files, tmp_path, no_sleep, caplog, capfd, fault, local):
    caplog.set_level(logging.DEBUG)
    settings = {"local_dir": tmp_path / "here" if local else None}
    fetch(revision="v2", **settings)
    assert (("127.0.0.1", f"Bearer {TOKEN}")) in hub.tokens
    assert {token for host, token in hub.tokens if host == "localhost"} == {None}
    if fault == "gated":
        hub.gated.add(REPO)
    elif fault == "failing":
        hub.failing = 500
    elif fault == "gone":
        hub.stop()
    elif fault == "damaged":
        flip = Faults(0, ("flip",), share=1.0, most=99)
        flip.refuse = lambda method, path: None
        hub.faults = flip
    with pytest.raises(SourceError) as e:
        fetch("owner/missing" if fault == "missing" else REPO, **settings)
    written = b"".join(
        path.read_bytes() for path in tmp_path.rglob("*") if path.suffix in (".log", ".json")
    ).decode()
    # What other libraries log goes nowhere unless the user asks for it.
    logged = [r.getMessage() for r in caplog.records if r.name.startswith("mlx_probe")]
    assert logged
    assert written
    for secret in (TOKEN, SIGNATURE):
        assert secret not in f"{e.value}{logged}{capfd.readouterr()}{written}"


def test_hostile_names_write_nothing(hub, files, tmp_path):
    for number, name in enumerate(
        ("../evil.safetensors", "/tmp/evil.safetensors", "a\\evil.gguf", "x" * 4000 + ".gguf")
    ):
        hub.repos[REPO]["main"] = {name: b"evil", "config.json": b"{}"}
        for local in (tmp_path / f"in{number}", None):
            before = tree(tmp_path)
            with pytest.raises(SourceError):
                fetch(local_dir=local, include=("*",))
            with pytest.raises(ProbeError):
                fetch(local_dir=local)
            new = set(tree(tmp_path)) - set(before)
            assert not {path for path in new if path.endswith((".safetensors", ".gguf"))}
            logs = ("cache", f"in{number}", "hub")
            assert {path.split("/")[0] for path in new} <= set(logs)


def test_a_linked_subfolder_is_not_filled(hub, files, tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "in"
    outside.mkdir()
    folder.mkdir()
    (folder / "onnx").symlink_to(outside)
    (folder / "config.json").symlink_to(outside / "config.json")
    with pytest.raises(SourceError, match="is a link, which may lead elsewhere"):
        fetch(local_dir=folder, include=("onnx/*",))
    fetch(local_dir=folder)
    assert tree(outside) == {}
    assert (folder / "config.json").read_bytes() == files["config.json"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://mirror.example",
        "mirror.example",
        "ftp://mirror.example",
        f"https://me:{TOKEN}@mirror.example",
        "https://[::1",
        "",
    ],
)
def test_mirrors_that_get_no_token(endpoint):
    with pytest.raises(ConfigError, match="no address such as") as e:
        DownloadConfig(endpoints=(endpoint,))
    assert TOKEN not in str(e.value)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name, data in make_files().items():
        if "/" not in name:
            (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("links", ["hard", "symbolic"])
def test_a_folder_is_linked(model, tmp_path, monkeypatch, links):
    if links == "symbolic":

        def refuse(self, target):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    before = tree(model)
    for _ in range(2):
        done = fetch(str(model), local_dir=tmp_path / "here")
        assert done.received == 0
        for name in NEEDED:
            path = tmp_path / "here" / name
            assert path.samefile(model / name)
            assert path.is_symlink() == (links == "symbolic")
    assert tree(model) == before
    assert read_manifest(tmp_path / "here").source == "local"
    assert not verify(str(tmp_path / "here")).damaged


def test_a_folder_needs_somewhere_to_go(model):
    with pytest.raises(ConfigError, match="on this disk already"):
        fetch(str(model))
    with pytest.raises(ConfigError, match="own folder"):
        fetch(str(model), local_dir=model)
    with pytest.raises(ConfigError, match="is for the Hub"):
        fetch(str(model), local_dir=model / "x", endpoints=("https://mirror.example",))


@pytest.mark.parametrize("hashed", [True, False])
def test_an_address(hub, files, tmp_path, hashed):
    data = hub.repos[REPO]["main"][WHOLE] = files[SHARDS[0]]
    url = f"{hub.url}/cdn/{REPO}/main/{WHOLE}"
    text = f"{url}#sha256={digest(data)}" if hashed else url
    done = fetch(text, local_dir=tmp_path / "here")
    assert (tmp_path / "here" / WHOLE).read_bytes() == data
    manifest = read_manifest(done.folder)
    assert (manifest.source, manifest.model) == ("url", url)
    assert manifest.files[0].sha256 == digest(data)
    assert fetch(text).folder.is_relative_to(tmp_path / "cache" / "url")
    assert resolve(text).path.parent == fetch(text).folder


def test_an_address_whose_hash_is_another(hub, files, tmp_path):
    hub.repos[REPO]["main"][WHOLE] = files[SHARDS[0]]
    text = f"{hub.url}/cdn/{REPO}/main/{WHOLE}#sha256={'0' * 64}"
    with pytest.raises(SourceError, match="arrives damaged"):
        fetch(text, local_dir=tmp_path / "here")
    assert not (tmp_path / "here" / WHOLE).exists()


def test_deeper_files_are_found_by_their_manifest(hub, tmp_path):
    weights = safetensors_bytes(
        {"x": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}, b"abc"
    )
    files = {"deep/model/model.safetensors": weights, "deep/model/config.json": b"{}"}
    hub.repos[REPO] = {"main": files}
    done = fetch(local_dir=tmp_path / "here")
    model = resolve(str(tmp_path / "here"))
    assert model.weights == (done.folder.absolute() / "deep/model/model.safetensors",)
    assert model.config == done.folder.absolute() / "deep/model/config.json"
    # Without it nobody looks through whatever folder it may be.
    done.manifest.unlink()
    with pytest.raises(SourceError, match="has no weights"):
        resolve(str(tmp_path / "here"))
