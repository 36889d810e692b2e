"""The files of a repository, listed by the Hub or by its mirrors."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlx_probe.core.errors import SourceError
from mlx_probe.core.records import ModelRef
from mlx_probe.source.hub.errors import DATA, UnreachableError, explained
from mlx_probe.source.transfer.digest import PublishedFile
from mlx_probe.source.transfer.request import Address, FileRequest, shown_address
from mlx_probe.source.transfer.retry import RetryPolicy

__all__ = ["Repository", "default_endpoint", "list_repository"]

_log = logging.getLogger(__name__)

# Seconds to wait for a list of files.
_TIMEOUT = 15.0
# Giving up here loses nothing; in the middle of a file it would.
_TRIES = 4
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Repository:
    """A repository at one commit.

    Attributes:
        name: Its id.
        commit: The commit.
        files: The files by name.
        endpoints: The Hub and its mirrors, in the order in which they are asked for files.
        kind: "model" or "dataset", as the Hub calls it.
    """

    name: str
    commit: str
    files: Mapping[str, PublishedFile]
    endpoints: tuple[str, ...]
    kind: str = "model"

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of every file by name; 0 if a mirror leaves the size out."""
        return {name: file.size or 0 for name, file in self.files.items()}

    def request(self, name: str, again: bool = False) -> FileRequest:
        """How to get a file.

        Raises:
            SourceError: No server gives its hash, without which it cannot be verified.
            OSError: And whatever else huggingface_hub raises; see `explained`.
        """
        file = self.files[name]
        if file.etag is None or file.size is None:
            file = self._look_up(file)
        return FileRequest(file, self.addresses(name), file.etag or "", again)

    def addresses(self, name: str) -> list[Address]:
        """Addresses of a file of this commit: one at each endpoint, in order."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        headers = build_hf_headers()
        return [
            Address(
                hf_hub_url(
                    self.name,
                    name,
                    repo_type=self.kind,
                    revision=self.commit,
                    endpoint=endpoint,
                ),
                headers,
                self.commit,
            )
            for endpoint in self.endpoints
        ]

    def _look_up(self, file: PublishedFile) -> PublishedFile:
        """Ask for a file's own metadata if the list of files leaves size or hash out."""
        from huggingface_hub import HfApi, hf_hub_url

        endpoint = self.endpoints[0]
        metadata = HfApi(endpoint=endpoint).get_hf_file_metadata(
            url=hf_hub_url(
                self.name,
                file.name,
                repo_type=self.kind,
                revision=self.commit,
                endpoint=endpoint,
            )
        )
        if metadata.commit_hash not in (None, self.commit):
            raise SourceError(
                f"{shown_address(endpoint)} serves commit {metadata.commit_hash} of {self.name}, "
                f"not {self.commit}",
                "Choose another --endpoint, or wait until it is up to date",
            )
        if metadata.size is not None and file.size is None:
            file = replace(file, size=metadata.size)
        if file.etag is None and _SHA256.fullmatch(metadata.etag or ""):
            file = replace(file, sha256=metadata.etag)
        elif file.etag is None and _COMMIT.fullmatch(metadata.etag or ""):
            file = replace(file, blob_id=metadata.etag)
        if file.etag is None:
            raise SourceError(
                f"{shown_address(endpoint)} does not give the hash of {file.name}, without "
                "which the file cannot be verified",
                "Choose another --endpoint, or unset HF_ENDPOINT",
            )
        return file


def default_endpoint() -> str:
    """Address of the Hub, or of the server that HF_ENDPOINT names."""
    from huggingface_hub import constants

    # huggingface_hub reads the variable once, when it is imported; a notebook may set it later.
    return os.environ.get("HF_ENDPOINT") or str(constants.ENDPOINT)


def list_repository(
    ref: ModelRef, endpoints: Sequence[str] = (), retry: RetryPolicy | None = None
) -> Repository:
    """List a repository at the commit that its revision means now.

    The first endpoint that answers decides the commit. Mirrors with an older commit are asked
    for files last: they lack what is new. It is an error if a later mirror has a newer commit,
    since then the first is behind, or if it has other hashes for the same commit.

    Args:
        ref: Repository and revision.
        endpoints: The Hub and its mirrors, in order; none for `default_endpoint`.
        retry: How often to ask; None for once.

    Raises:
        UnreachableError: None of them answers now.
        SourceError: Repository or revision missing, access denied, or mirrors that disagree.
    """
    from huggingface_hub import constants

    endpoints = tuple(endpoint.rstrip("/") for endpoint in endpoints) or (default_endpoint(),)
    tries = min(retry.tries, _TRIES) if retry and not constants.HF_HUB_OFFLINE else 1
    for failures in range(1, tries + 1):
        answers: dict[str, Any] = {}
        errors: list[SourceError] = []
        for endpoint in endpoints:
            try:
                answers[endpoint] = _ask(ref, endpoint)
            except SourceError as error:
                errors.append(error)
                _log.info("%s: %s", shown_address(endpoint), error.fact)
        if answers:
            return _choose(ref, endpoints, answers)
        # A refusal says more than no answer.
        refusals = [error for error in errors if not isinstance(error, UnreachableError)]
        if refusals or retry is None or failures == tries:
            raise (refusals or errors)[0]
        retry.sleep(retry.wait(failures))
    raise AssertionError("unreachable")


def _ask(ref: ModelRef, endpoint: str) -> Any:
    from huggingface_hub import HfApi

    with explained(ref):
        try:
            api = HfApi(endpoint=endpoint)
            ask = api.dataset_info if ref.source == DATA else api.model_info
            info: Any = ask(ref.name, revision=ref.revision, files_metadata=True, timeout=_TIMEOUT)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("the answer is not the Hub's") from error
        if not _COMMIT.fullmatch(info.sha or ""):
            raise ValueError("the answer names no commit")
        if _COMMIT.fullmatch(ref.revision or "") and info.sha != ref.revision:
            raise ValueError(f"asked for commit {ref.revision}, it answers with {info.sha}")
        return info


def _choose(ref: ModelRef, endpoints: Sequence[str], answers: Mapping[str, Any]) -> Repository:
    first = next(iter(answers))
    info = answers[first]
    files = {file.rfilename: _published(file) for file in info.siblings or ()}
    for endpoint, other in answers.items():
        if other.sha == info.sha:
            _compare(ref, files, other, (first, endpoint))
            continue
        difference = (
            f"{shown_address(endpoint)} has commit {other.sha}{_dated(other)} of {ref.name}, "
            f"{shown_address(first)} has {info.sha}{_dated(info)}"
        )
        if _date(other) and _date(info) and _date(other) > _date(info):
            raise SourceError(
                difference, "Name the commit you want with --revision, or put that mirror first"
            )
        _log.warning("%s; taking the latter", difference)
    # Mirrors that have the commit come first.
    order = sorted(endpoints, key=lambda e: e in answers and answers[e].sha != info.sha)
    kind = "dataset" if ref.source == DATA else "model"
    return Repository(ref.name, info.sha, files, tuple(order), kind)


def _compare(
    ref: ModelRef, files: Mapping[str, PublishedFile], other: Any, endpoints: tuple[str, str]
) -> None:
    """Refuse two mirrors with different hashes for one commit: one of them is wrong."""
    for file in map(_published, other.siblings or ()):
        known = files.get(file.name)
        if known and known.etag and file.etag and known.etag != file.etag:
            raise SourceError(
                f"{' and '.join(map(shown_address, endpoints))} disagree about {file.name} of "
                f"{ref.name} at commit {other.sha}: {known.etag} and {file.etag}",
                "Find out which is right, and give only that with --endpoint",
            )


def _date(info: Any) -> Any:
    date = info.last_modified
    return date if isinstance(date, datetime) else None


def _dated(info: Any) -> str:
    return f" of {_date(info):%Y-%m-%d %H:%M}" if _date(info) else ""


def _published(file: Any) -> PublishedFile:
    """A file of the Hub's list; a size or hash that is not valid counts as missing."""
    size = file.size if isinstance(file.size, int) and file.size >= 0 else None
    lfs = getattr(file.lfs, "sha256", None)
    blob = file.blob_id
    return PublishedFile(
        str(file.rfilename),
        size,
        lfs if isinstance(lfs, str) and _SHA256.fullmatch(lfs) else None,
        blob if isinstance(blob, str) and _COMMIT.fullmatch(blob) and lfs is None else None,
    )
