"""Models that are one file at an https address, in our cache."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, unquote, urldefrag, urlsplit

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.core.formats import weight_suffixes
from mlx_probe.core.paths import cache_dir
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source.manifest import read_manifest, record, write_manifest
from mlx_probe.source.parts import all_parts
from mlx_probe.source.protocol import ListingOptions
from mlx_probe.source.transfer.batch import fetch_files
from mlx_probe.source.transfer.destination import FolderDestination
from mlx_probe.source.transfer.digest import PublishedFile, check_names
from mlx_probe.source.transfer.disk_space import space_for
from mlx_probe.source.transfer.http_range import LostError, RefusedError, asked
from mlx_probe.source.transfer.listing import ModelListing
from mlx_probe.source.transfer.progress import DownloadProgress
from mlx_probe.source.transfer.remote_file import RemoteOpener, RemoteShard
from mlx_probe.source.transfer.request import (
    Address,
    FileRequest,
    explain_unsafe,
    is_safe_url,
    shown_address,
)
from mlx_probe.source.transfer.retry import RetryPolicy

__all__ = ["fetch", "fetch_remote", "list_model"]

_log = logging.getLogger(__name__)


def fetch(ref: ModelRef, progress: DownloadProgress | None = None) -> ModelFiles:
    """Download a file into the cache, or find it there.

    With ``#sha256=<hex>`` at the end of the address, as pip writes it, the file is verified.
    Without it only its length is checked, if the server sends the length. A file in the cache
    needs no network.

    Args:
        ref: The address.
        progress: Shows how far it is; None for nothing.

    Raises:
        SourceError: No https address, no connection, or not the file that the hash names.
        ConfigError: The address carries a user name or password.
    """
    url, _ = _parse(ref)
    name, folder = _file_name(url), _folder(ref)
    path = folder / name
    try:
        manifest = read_manifest(folder)
        entry = manifest.find(name) if manifest else None
        if entry is None or not entry.vouches_for(path):
            request = replace(_request(ref), again=True)
            destination = FolderDestination(folder, "MLX_PROBE_CACHE")
            space_for([request], destination, shown_address(url))
            (done,) = fetch_files([request], destination, progress=progress)
            entry = record(done, path)
            write_manifest(folder, "url", shown_address(url), "", "", [entry])
        else:
            _log.info("%s: from the cache; delete %s to fetch it again", shown_address(url), folder)
    except OSError as error:
        raise SourceError(
            f"cannot keep {shown_address(url)} in {folder}: {error.strerror or error}",
            "Free space there, or set MLX_PROBE_CACHE to another folder",
        ) from error
    return ModelFiles(shown_address(url), f"sha256:{entry.sha256}", path, (path,))


def fetch_remote(ref: ModelRef, progress: DownloadProgress | None = None) -> ModelFiles:
    """Leave the file on its server, to be read over the network.

    Args:
        ref: The address.
        progress: Not used: no file is downloaded.

    Returns:
        Files whose ``weights`` are the path that it would have in the cache, and whose
        ``opener`` is a `RemoteOpener`.

    Raises:
        SourceError: No https address, or no connection.
        ConfigError: The address carries a user name or password.
    """
    request = _request(ref)
    file, address = request.file, request.addresses[0]
    path, shown = _folder(ref) / file.name, address.shown
    shards = {path: RemoteShard(shown, file, address)}
    opener = RemoteOpener(shards, partial(_explained, address.url))
    revision = f"etag:{address.validator}" if address.validator else "unknown"
    if file.sha256:
        revision = f"sha256:{file.sha256}"
    return ModelFiles(shown, revision, Path(shown), (path,), opener=opener)


def list_model(ref: ModelRef, options: ListingOptions) -> ModelListing:
    """Ask the server how long the file is; see `ListModel`.

    Raises:
        SourceError: No https address, or no answer.
        ConfigError: The address carries a user name or password.
    """
    request = _request(ref, options.retry)
    if options.folder is None:
        destination = FolderDestination(_folder(ref), "MLX_PROBE_CACHE")
    else:
        destination = FolderDestination(options.folder)
    return ModelListing(
        source="url",
        model=request.addresses[0].shown,
        revision="",
        endpoint="",
        files={request.file.name: request.file},
        chosen=(request.file.name,),
        destination=destination,
        request=lambda _, again: replace(request, again=again),
    )


def _request(ref: ModelRef, retry: RetryPolicy | None = None) -> FileRequest:
    """What to fetch, after the server was asked for the file's length and version."""
    url, sha256 = _parse(ref)
    with _explained(url):
        file, validator = _probe(PublishedFile(_file_name(url), None, sha256), url, retry)
    address = Address(url, validator=validator, loopback_or_https=True)
    # Bytes that were left of another version must not become part of this one.
    version = f"{url}\n{validator}\n{file.size}"
    key = file.etag or hashlib.sha256(version.encode()).hexdigest()
    return FileRequest(file, [address], key)


def _parse(ref: ModelRef) -> tuple[str, str | None]:
    """The address without its fragment, and the SHA-256 that the fragment gives."""
    url, fragment = urldefrag(ref.name)
    if not is_safe_url(url):
        raise explain_unsafe(url)
    if urlsplit(url).netloc.count("@"):
        raise ConfigError(
            f"{shown_address(url)} is given with a user name or password, which logs could show",
            "Download the file another way and give its path",
        )
    wanted = parse_qs(fragment).get("sha256", [])
    if fragment and (len(wanted) != 1 or not re.fullmatch("[0-9a-fA-F]{64}", wanted[0])):
        raise ConfigError(
            f"{shown_address(url)} ends in a fragment that is no hash",
            "Write #sha256= and 64 hexadecimal digits, or nothing",
        )
    return url, wanted[0].lower() if wanted else None


def _file_name(url: str) -> str:
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name.lower().endswith(weight_suffixes()):
        raise SourceError(
            f"{shown_address(url)} does not end in the name of a weight file",
            f"Give the address of a file that ends in {' or '.join(weight_suffixes())}",
        )
    check_names([name], shown_address(url))
    # An address is one file.
    all_parts(name, (name,), shown_address(url))
    return name


def _folder(ref: ModelRef) -> Path:
    return (
        cache_dir() / "url" / hashlib.sha256(ref.name.encode("utf-8", "replace")).hexdigest()[:32]
    )


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn failures of requests into errors with a remedy."""
    try:
        yield
    except RefusedError as error:
        raise SourceError(
            f"{shown_address(url)}: {error}",
            "Check the address in a browser, and that HF_HUB_OFFLINE is not set",
        ) from error
    except LostError as error:
        raise SourceError(
            f"{shown_address(url)}: {error}", "Check the connection and the address"
        ) from error


def _probe(
    file: PublishedFile, url: str, retry: RetryPolicy | None = None
) -> tuple[PublishedFile, str | None]:
    """Length and ETag, from a request for the first byte: some servers refuse HEAD."""
    retry = retry or RetryPolicy()
    address = Address(url, loopback_or_https=True)
    for failures in range(1, retry.tries + 1):
        try:
            with asked(file, address, 0, 1, retry.timeout) as answer:
                return replace(file, size=answer.size), answer.etag
        except LostError as error:
            if failures == retry.tries:
                raise
            retry.sleep(retry.wait(failures, error.asked))
    raise AssertionError("unreachable")
