"""The version, in one place: pyproject.toml reads it from here.

The package metadata has it too, but reading that takes longer than all else that
`import mlx_probe` does.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
