"""The installed version, in one place: the package metadata."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("mlx-probe")
