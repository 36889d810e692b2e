"""Downloads with faults drawn from a seed: all hashes right, or a clear error.

Two hundred of them with `--long` (`make long-tests`), whose counts docs/en/download.md has.
"""

import random
from collections import Counter

import pytest
from hub_faults import DAMAGES, INTERRUPTIONS, Faults
from hub_models import NEEDED, REPO, SHARDS, hasty, make_files
from hub_server import Hub, commit_of
from repetitions import times

from mlx_probe.core.errors import Interrupted, SourceError
from mlx_probe.library.download import DownloadConfig, download, verify
from mlx_probe.source import parse_reference
from mlx_probe.source.transfer.progress import DownloadProgress

pytestmark = pytest.mark.slow

# What may go over the network for one file's worth of bytes, where faults only interrupt.
MOST_TRANSFERRED = 1.2


class Interrupter(DownloadProgress):
    """Somebody who presses Ctrl-C once so many bytes have come."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def count(self, received):
        super().count(received)
        if self.limit is not None and self.received >= self.limit:
            raise KeyboardInterrupt


class Run:
    """One seed's world: mirrors, what is wrong with each, and what is asked of them."""

    def __init__(self, seed):
        draw = random.Random(seed)
        self.files = make_files(seed, draw.randrange(2_000, 60_000))
        self.commit = commit_of(f"{REPO}main")
        self.only_interrupted = seed % 2 == 0
        kinds = INTERRUPTIONS if self.only_interrupted else (*INTERRUPTIONS, *DAMAGES)
        self.hubs = [self.make_hub(draw, seed * 10 + n, kinds) for n in range(draw.randint(1, 3))]
        # Files are asked for by commit of mirrors that may be behind.
        behind = any(hub.generation for hub in self.hubs)
        self.revision = self.commit if behind or draw.random() < 0.3 else None
        self.limits = [draw.randrange(1, 120_000) for _ in range(draw.choice([0, 0, 1, 3]))]
        self.local = draw.random() < 0.5
        self.workers = draw.choice([1, 2, 4])

    def make_hub(self, draw, seed, kinds):
        hub = Hub()
        role = draw.choice(["faulty"] * 5 + ([] if self.only_interrupted else ["old", "down"]))
        files = self.files
        if role == "old":
            # Other bytes of the same length: only hashes differ.
            files = {name: data[::-1] if name in SHARDS else data for name, data in files.items()}
            hub.generation, hub.lax = "older", draw.choice(["", "honest", "lying"])
            hub.modified = "2025-01-01T00:00:00.000Z"
            hub.claims = self.files if draw.random() < 0.5 else {}
        hub.repos[REPO] = {"main": files}
        hub.ranges = self.only_interrupted or draw.random() < 0.8
        hub.faults = Faults(seed, kinds, share=draw.choice([0.0, 0.3, 0.6, 1.0]), most=3)
        hub.down = role == "down"
        return hub

    def download(self, folder):
        """Errors and interruptions of every attempt, and the last one's outcome."""
        config = DownloadConfig(
            folder if self.local else None,
            tuple(hub.url for hub in self.hubs),
            workers=self.workers,
            retry=hasty(timeout=0.12, tries=6),
        )
        ref = parse_reference(REPO, self.revision)
        received, problems = 0, []
        for limit in [*self.limits, None]:
            progress = Interrupter(limit)
            try:
                done = download(ref, config, progress)
            except (SourceError, Interrupted) as error:
                done = None
                problems.append(error)
            received += progress.received
            if done is not None:
                break
        return done, problems, received


def test_fault_runs(tmp_path, monkeypatch, record_property):
    from huggingface_hub import constants

    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    totals, faults, ratios = Counter(), Counter(), []
    runs = times(40, 200)
    for seed in range(runs):
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / f"hub{seed}"))
        run, folder = Run(seed), tmp_path / f"local{seed}"
        for hub in run.hubs:
            hub.start()
        for hub in run.hubs:
            if hub.down:
                # Its address stays known, and is nobody's any more.
                hub.server.shutdown()
                hub.server.server_close()
        try:
            done, problems, received = run.download(folder)
        finally:
            for hub in run.hubs:
                hub.faults.end()
                if not hub.down:
                    hub.stop()
                faults.update(hub.faults.happened)
        totals["interrupted"] += sum(isinstance(error, Interrupted) for error in problems)
        # Whatever the outcome: what has its final name is right.
        folders = [folder] if run.local else list((tmp_path / f"hub{seed}").glob("*/snapshots/*"))
        for destination in folders:
            for name in NEEDED:
                path = destination / name
                assert not path.exists() or path.read_bytes() == run.files[name], (seed, name)
        if done is None:
            totals["clear error"] += 1
            assert problems[-1].remedy, seed
            continue
        totals["right"] += 1
        totals["right, only interrupted"] += run.only_interrupted
        assert done.plan.listing.revision == run.commit, seed
        for name in NEEDED:
            assert (done.folder / name).read_bytes() == run.files[name], (seed, name)
        assert not verify(str(done.folder)).damaged, seed
        if run.only_interrupted:
            ratios.append(received / sum(len(run.files[name]) for name in NEEDED))
    summary = f"{dict(totals)}, faults {dict(faults)}, worst ratio {max(ratios):.4f}"
    record_property("fault runs", summary)
    print(summary)
    assert totals["right"] + totals["clear error"] == runs
    assert totals["right"] > runs / 2
    assert set(faults) == {*INTERRUPTIONS, *DAMAGES}
    assert max(ratios) <= MOST_TRANSFERRED, summary
