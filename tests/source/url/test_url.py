"""Models behind an address."""

import logging

import pytest
from hub_models import tree
from hub_server import SIGNATURE, TOKEN, digest

from mlx_probe.core.errors import ConfigError, ProbeError, SourceError
from mlx_probe.source import ListingOptions, parse_reference, resolve
from mlx_probe.source.manifest import read_manifest
from mlx_probe.source.url import fetch as url


@pytest.fixture
def address(hub, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mlx_probe.source.transfer.retry.time.sleep", lambda seconds: None)
    hub.repos["o/n"] = {"main": {"m.gguf": weights}}
    return f"{hub.url}/cdn/o/n/main/m.gguf"


def test_a_file_is_fetched_once(hub, address, weights, tmp_path):
    files = resolve(address)
    assert files.model_id == address
    assert files.revision == f"sha256:{digest(weights)}"
    assert files.weights == (files.path,)
    assert files.path.name == "m.gguf"
    assert files.path.read_bytes() == weights
    assert files.path.is_relative_to(tmp_path / "cache" / "url")
    assert sorted(path.name for path in files.path.parent.iterdir()) == [
        ".mlx-probe",
        "m.gguf",
        "mlx-probe-manifest.json",
    ]
    hub.stop()
    assert resolve(address) == files
    # The Hub's token is the Hub's.
    assert hub.tokens == {("127.0.0.1", None)}


def test_a_changed_copy_is_fetched_again(hub, address, weights):
    path = resolve(address).path
    path.write_bytes(b"x" * len(weights))
    assert resolve(address).path.read_bytes() == weights


def test_the_hash_of_the_address_counts(hub, address, weights):
    good = resolve(f"{address}#sha256={digest(weights).upper()}")
    assert good.path.read_bytes() == weights
    with pytest.raises(SourceError, match=r"m\.gguf arrives damaged: .*sha256"):
        resolve(f"{address}#sha256={'0' * 64}")


def test_an_interrupted_download_goes_on(hub, address, weights, monkeypatch):
    hub.lost["m.gguf"] = 3
    assert resolve(address).path.read_bytes() == weights
    assert hub.sent["m.gguf"] == len(weights)


def test_another_version_is_not_mixed_in(hub, address, weights, tmp_path):
    listing = url.list_model(parse_reference(address), ListingOptions())
    key_before = listing.request("m.gguf", False).key
    hub.repos["o/n"]["main"]["m.gguf"] = weights[::-1]
    listing = url.list_model(parse_reference(address), ListingOptions())
    request = listing.request("m.gguf", False)
    assert request.key != key_before
    hub.repos["o/n"]["main"]["m.gguf"] = weights
    from mlx_probe.source.transfer.batch import fetch_files

    with pytest.raises(SourceError, match="the file there has changed"):
        fetch_files([request], listing.destination)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("http://example.com/m.gguf", SourceError, "is no https address"),
        ("https://example.com/page.html", SourceError, "does not end in the name of a weight"),
        ("https://example.com/..%2F..%2Fx%0A.gguf", SourceError, "is no plain name|does not end"),
        (f"https://u:{TOKEN}@example.com/m.gguf", ConfigError, "user name or password"),
        ("https://example.com/m.gguf#md5=1", ConfigError, "no hash"),
        ("https://example.com/m.gguf#sha256=xyz", ConfigError, "no hash"),
        ("https://[::1/m.gguf", ProbeError, "is no https address"),
    ],
)
def test_addresses_that_are_refused(tmp_path, monkeypatch, text, error, message):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path))
    with pytest.raises(error, match=message) as e:
        resolve(text)
    assert TOKEN not in str(e.value)
    assert tree(tmp_path) == {}


def test_no_revision():
    with pytest.raises(ConfigError, match="no revision"):
        parse_reference("https://example.com/m.gguf", "main")


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_refuses(hub, address, status):
    hub.failing = status
    with pytest.raises(SourceError, match=f"HTTP status {status}"):
        resolve(f"{address}?Signature={SIGNATURE}")


def test_the_query_is_sent_and_never_shown(hub, address, caplog, capfd):
    caplog.set_level(logging.DEBUG, "mlx_probe")
    files = resolve(f"{address}?Signature={SIGNATURE}")
    manifest = read_manifest(files.path.parent)
    hub.stop()
    files.path.unlink()
    with pytest.raises(SourceError) as e:
        resolve(f"{address}?Signature={SIGNATURE}")
    with pytest.raises(SourceError) as remote:
        resolve(f"{address}?Signature={SIGNATURE}", remote=True)
    shown = f"{files}{manifest}{e.value}{remote.value}{caplog.text}{capfd.readouterr()}"
    assert SIGNATURE not in shown


def test_a_redirect_to_plain_http_elsewhere(hub, address, monkeypatch):
    # As though localhost, where the redirect leads, were another machine.
    real = url.is_safe_url
    monkeypatch.setattr(
        "mlx_probe.source.transfer.http_range.is_safe_url",
        lambda u: real(u) and "localhost" not in u,
    )
    text = f"{hub.url}/o/n/resolve/main/m.gguf"
    with pytest.raises(SourceError, match="neither https nor local"):
        resolve(text)


def test_offline_nobody_is_asked(hub, address, monkeypatch):
    path = resolve(address).path
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert resolve(address).path == path
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE is set"):
        resolve(f"{address}?other")
    assert hub.requests == []


def test_it_may_stay_where_it_is(hub, address, weights, tmp_path):
    files = resolve(f"{address}#sha256={digest(weights)}", remote=True)
    with files.opener(files.weights[0]) as file:
        assert file.read(4) == weights[:4]
    assert files.revision == f"sha256:{digest(weights)}"
    assert files.opener.sizes == {files.weights[0]: len(weights)}
    assert not files.weights[0].exists()
    assert hub.tokens == {("127.0.0.1", None)}
    # Where it would be looked for in the cache.
    assert resolve(f"{address}#sha256={digest(weights)}").weights == files.weights


def test_another_remote_version_is_refused(hub, address, weights):
    files = resolve(address, remote=True)
    hub.repos["o/n"]["main"]["m.gguf"] = weights[::-1]
    with pytest.raises(SourceError, match="has changed"):
        files.opener(files.weights[0]).read(8)


def test_nobody_there(hub, address):
    hub.stop()
    with pytest.raises(SourceError, match="no connection") as e:
        resolve(address, remote=True)
    assert "address" in e.value.remedy
