"""Tags that users give to models and runs: words to type and to filter by."""

from __future__ import annotations

from mlx_probe.core.errors import ConfigError

__all__ = ["check_tag"]

# Letters.
_LONGEST = 60


def check_tag(tag: str) -> None:
    """Refuse what nobody can type.

    Raises:
        ConfigError: A tag is not one printable word.
    """
    if not tag.isprintable() or not tag or len(tag) > _LONGEST or tag.split() != [tag]:
        raise ConfigError(
            f"{tag[:80]!r} is no tag",
            f"Use one word of at most {_LONGEST} letters",
        )
