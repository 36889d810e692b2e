"""A pair of the shape of Llama 2 7B as sparse files: time, memory, and bytes over a network."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from _architectures import llama_7b
from _checkpoints import header_of, nbytes, to_bfloat16

from mlx_probe.analysis.lineage import LineageConfig
from mlx_probe.analysis.lineage.fingerprint import _wanted
from mlx_probe.analysis.opening import open_checkpoint

__all__ = ["ranged_server", "write_pair"]


def write_pair(root: Path, divisor: int = 1) -> tuple[Path, Path, int]:
    """A base and its fine-tune of 7B parameters, in which only what is sampled is written.

    The rows that `read_fingerprint` reads hold Gaussian bfloat16 numbers, those of B with a
    hundredth of noise; all other rows are holes in the files, which read as zeros and take no
    disk.

    Args:
        root: Folder for both.
        divisor: Divides every extent, for tests.

    Returns:
        Both folders, and the bytes that were written of each.
    """
    tensors, config = llama_7b()
    tensors = {
        name: (dtype, tuple(max(16, extent // divisor) for extent in shape))
        for name, (dtype, shape) in tensors.items()
    }
    folders = root / "base", root / "tuned"
    header, written = header_of(tensors), 0
    for folder in folders:
        folder.mkdir(parents=True)
        with (folder / "model.safetensors").open("wb") as file:
            file.write(header)
            file.truncate(len(header) + sum(nbytes(*each) for each in tensors.values()))
        (folder / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    with open_checkpoint(str(folders[0])) as checkpoint:
        wanted = _wanted(checkpoint.weights(), checkpoint, LineageConfig())
    files = [(folder / "model.safetensors").open("r+b") for folder in folders]
    for weight, rows in wanted:
        cols = weight.extents[1]
        (_, start, _), *_ = weight.byte_ranges()
        for block in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
            x = 0.02 * rng.standard_normal((len(block), cols), np.float32)
            y = x + 0.0002 * rng.standard_normal(x.shape, np.float32)
            for file, values in zip(files, (x, y), strict=True):
                file.seek(start + int(block[0]) * cols * 2)
                file.write(to_bfloat16(values).tobytes())
            written += x.size * 2
    for file in files:
        file.close()
    return *folders, written


@contextmanager
def ranged_server(root: Path) -> Iterator[tuple[str, list[int]]]:
    """Files of a folder on the loopback address, by ranges; the bytes of every answer."""
    sent: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            path = root / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            size = path.stat().st_size
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first = int(asked[1]) if asked else 0
            last = min(int(asked[2]) + 1, size) if asked and asked[2] else size
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(last - first))
            self.send_header("ETag", '"1"')
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last - 1}/{size}")
            self.end_headers()
            with path.open("rb") as file:
                file.seek(first)
                self.wfile.write(file.read(last - first))
            sent.append(last - first)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
