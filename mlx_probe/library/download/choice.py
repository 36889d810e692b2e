"""Which of a model's files are wanted."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.download.config import DownloadConfig
from mlx_probe.source.transfer.digest import check_names
from mlx_probe.source.transfer.listing import ModelListing

__all__ = ["COMPANIONS", "wanted_names"]

# What engines read beside weights and config.json; the largest, tokenizer.json, has some 20 MB.
COMPANIONS = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "chat_template.jinja",
    "adapter_config.json",
)


def wanted_names(listing: ModelListing, config: DownloadConfig) -> list[str]:
    """Names of the files to download, small ones first.

    Without ``include`` these are the weights that an analysis would read, their index,
    config.json, and the `COMPANIONS` beside them. A glob matches the whole name or its last
    part.

    Raises:
        ConfigError: No file is left.
        SourceError: A name leads out of the folder, or collides with another.
    """
    if config.include:
        names = [name for name in listing.files if _matches(name, config.include)]
    else:
        folders = {PurePosixPath(name).parent for name in listing.chosen}
        beside = {str(folder / name) for folder in folders for name in COMPANIONS}
        names = list(dict.fromkeys([*sorted(beside & listing.files.keys()), *listing.chosen]))
    names = [name for name in names if not _matches(name, config.exclude)]
    if not names:
        raise ConfigError(
            f"no file of {listing.model} is left by --include and --exclude",
            "Give globs such as '*.safetensors', in quotes",
        )
    check_names(names, listing.model)
    return names


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    last = PurePosixPath(name).name
    return any(fnmatchcase(name, glob) or fnmatchcase(last, glob) for glob in globs)
