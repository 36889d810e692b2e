"""Models downloaded to this disk, verified and repaired.

`download` is the main path: look up, choose, check what is there, fetch the rest, write a manifest.
"""

from __future__ import annotations

from mlx_probe.library.download.choice import COMPANIONS
from mlx_probe.library.download.config import DownloadConfig
from mlx_probe.library.download.plan import DownloadPlan, Item
from mlx_probe.library.download.repair import repair
from mlx_probe.library.download.run import Downloaded, download, plan_download
from mlx_probe.library.download.verify import Finding, Verification, verify

__all__ = [
    "COMPANIONS",
    "DownloadConfig",
    "DownloadPlan",
    "Downloaded",
    "Finding",
    "Item",
    "Verification",
    "download",
    "plan_download",
    "repair",
    "verify",
]
