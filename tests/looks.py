"""Samples for tests of what follows from them."""

from datetime import datetime, timedelta, timezone

from mlx_probe.runs.monitor.jobs import JobRecord
from mlx_probe.runs.monitor.sample import Sample

GB = 10**9
BEGAN = datetime(2026, 1, 31, 9, 0, tzinfo=timezone.utc)


def look(seconds=0.0, **values):
    known = {
        "session": 0,
        "state": "running",
        "done": 0,
        "total": 100,
        "what": "w",
        "memory_used": 5 * GB,
        "memory_percent": 50.0,
        "process_memory": GB,
        "swap_used": 0,
        "disk_free": 100 * GB,
        "other_cpu": 10.0,
        "machine_cpu": 60.0,
        "process_cpu": 100.0,
        "read_rate": 1e9,
    }
    at = BEGAN + timedelta(seconds=seconds)
    return Sample(**{**known, "created_at": at, "seconds": float(seconds), **values})


def job(**values):
    known = {
        "pid": 1,
        "process_started": 0.0,
        "kind": "analyze",
        "title": "m",
        "folder": "/tmp/out",
        "samples": "",
        "created_at": "2026-01-31T09:00:00+00:00",
        "session": 0,
        "interval": 1.0,
        "cores": 8,
        "memory": 10 * GB,
        "copy_bandwidth": 1e10,
        "rules": ("memory above 90% pause",),
    }
    return JobRecord(**{**known, **values})
