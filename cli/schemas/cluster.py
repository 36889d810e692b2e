"""The document of `cluster check`."""

from __future__ import annotations

from .shape import (
    ANYTHING,
    INTEGER,
    TEXT,
    Schema,
    listed,
    mapping,
    nullable,
    one_of,
    record,
)

__all__ = ["CLUSTER"]

_FACTS: Schema = record(
    {
        "host": (TEXT, "Name of the machine."),
        "pid": (INTEGER, "Number of the process on it."),
        "code_version": (TEXT, "Version of mlx-probe."),
        "sources": (TEXT, "SHA-256 of the code that decides rows."),
        "python": (TEXT, "Version of Python."),
        "platform": (TEXT, "The system with its version."),
        "packages": (mapping(TEXT), "Versions of the packages that touch numbers or files."),
        "dask": (TEXT, "Version of Dask's distributed."),
        "blas": (TEXT, "The linear algebra library of numpy."),
        "kernels": (mapping(TEXT), "Each library of compiled kernels, `used` or why not."),
        "cpu": (TEXT, "The processor's name."),
        "cores": (INTEGER, "Cores that the process may use."),
        "memory": (INTEGER, "Bytes of main memory."),
        "available_memory": (INTEGER, "Bytes of it that are free or can be freed."),
        "process_memory": (INTEGER, "Resident bytes of the process."),
        "backend": (nullable(TEXT), "The backend that computes there; null if there is none."),
        "device": (nullable(TEXT), "The device that it works on; null without a backend."),
        "backend_reason": (TEXT, "Why it is this backend, or why there is none."),
        "backend_remedy": (TEXT, "What to do where there is none."),
        "calibration": (
            nullable({"type": "object", "additionalProperties": ANYTHING}),
            "The speed of the machine; null without --calibrate.",
        ),
    }
)

CLUSTER: Schema = record(
    {
        "address": (TEXT, "As given."),
        "status": (one_of(("ok", "error")), "error: no worker, or one would be refused."),
        "model": (nullable(TEXT), "Whose copies were compared; null without --model."),
        "workers": (
            listed(
                record(
                    {
                        "name": (TEXT, "What its operator called it."),
                        "host": (TEXT, "Name of its machine, or the address of it."),
                        "address": (TEXT, "Where the scheduler reaches it."),
                        "threads": (INTEGER, "Tasks that it runs at once."),
                        "memory": (
                            nullable(INTEGER),
                            "Bytes that it may take: its resource MEMORY; null if undeclared.",
                        ),
                        "facts": (nullable(_FACTS), "What it is; null if it does not say so."),
                        "refusal": (
                            nullable(
                                record(
                                    {
                                        "fact": (TEXT, "Why an analysis would refuse it."),
                                        "remedy": (TEXT, "What to do about it."),
                                    }
                                )
                            ),
                            "null if it may take part.",
                        ),
                    }
                )
            ),
            "In the order in which they came to the scheduler.",
        ),
        "unlike": (
            listed(TEXT),
            "What differs between the workers that may take part: last bits may differ.",
        ),
        "cautions": (listed(TEXT), "What is likely to go wrong all the same."),
    }
)
