"""What an archive says of itself to whoever finds it, in English everywhere."""

from __future__ import annotations

__all__ = ["README"]

README = """\
A backup archive of mlx-probe.

    mlx-probe backup list --repo THIS_FOLDER
    mlx-probe backup verify --repo THIS_FOLDER
    mlx-probe backup restore latest --repo THIS_FOLDER --out NEW_FOLDER

Without the program: snapshots/*.jsonl.gz list the files (zcat), each as hashes of chunks of
4 MiB. A pack is chunks one after the other, most of them zstd frames, and then a record of 49
bytes for each (SHA-256, offset, stored bytes, bytes, 1 for zstd), little endian; its last 44
bytes begin with their number.
"""
