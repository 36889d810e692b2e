"""Run by test_dedupe_killed.py: a process is killed at every line of the replacing, in turn.

Arguments: an empty folder, "dedupe" or "undo", "hard" or "symbolic", lines from kill to kill.

Prints how many lines there were and what was wrong after any of them, as JSON.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

from mlx_probe.library.catalog import LinkPlan, PlannedLink, dedupe, undo
from mlx_probe.library.catalog import database as database_module
from mlx_probe.library.catalog.link_journal import load_links

WATCHED = ("linking.py", "link_journal.py", "dedupe.py")
CONTENT = bytes(range(256)) * 512
DIGEST = hashlib.sha256(CONTENT).hexdigest()
MODES = (0o644, 0o640, 0o600)


# What was written survives a kill, if not a power cut: no need to wait for the disk.
os.fsync = lambda descriptor: None


@contextmanager
def open_database(path):
    with database_module.open_database(path) as opened:
        opened.run("PRAGMA synchronous = OFF")
        yield opened


def main():
    root, action, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    stride, symbolic = int(sys.argv[4]), kind == "symbolic"
    wrong, step = [], 0
    while True:
        step += stride
        folder = root / "case"
        shutil.rmtree(folder, ignore_errors=True)
        paths = plant(folder)
        database = folder / "catalog.sqlite"
        plan = LinkPlan(
            symbolic,
            tuple(
                PlannedLink(path, paths[0], len(CONTENT), DIGEST, len(CONTENT))
                for path in paths[1:]
            ),
            (),
        )
        if action == "undo":
            with open_database(database) as opened:
                assert len(dedupe(opened, plan).changed) == 2
        if finished(step, database, plan, action):
            print(json.dumps({"steps": step - 1, "wrong": wrong}))
            return
        wrong += [f"step {step}: {fault}" for fault in faults(database, plan, paths)]


def plant(folder):
    paths = [folder / name / "model.gguf" for name in "abc"]
    for path, mode in zip(paths, MODES, strict=True):
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT)
        os.utime(path, ns=(10**18, 10**18 + mode))
        path.chmod(mode)
    return paths


def finished(step, database, plan, action):
    """Whether the action came to its end before that line."""
    child = os.fork()
    if not child:
        left = step

        def trace(frame, event, argument):
            nonlocal left
            if not frame.f_code.co_filename.endswith(WATCHED):
                return None
            if event == "line":
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        with open_database(database) as opened:
            sys.settrace(trace)
            dedupe(opened, plan) if action == "dedupe" else undo(opened)
            sys.settrace(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return not os.WIFSIGNALED(status)


def faults(database, plan, paths):
    yield from bytes_wrong("after the kill", paths)
    with open_database(database) as opened:
        dedupe(opened, LinkPlan(plan.symbolic, (), ()))
        yield from bytes_wrong("after the recovery", paths)
        left = [path.name for path in paths[0].parent.parent.rglob(".mlx-probe-*")]
        if left:
            yield f"left behind: {left}"
        if load_links(opened, ("planned", "linked", "undoing")):
            yield "the journal is not settled"
        done = dedupe(opened, plan)
        links = [
            p for p in paths[1:] if p.is_symlink() or p.stat().st_ino == paths[0].stat().st_ino
        ]
        if len(links) != 2:
            yield f"not linked the next time: {done.skipped}"
        yield from bytes_wrong("linked", paths)
        undo(opened, everything=True)
        yield from bytes_wrong("taken back", paths)
        if len({path.lstat().st_ino for path in paths}) != 3:
            yield "not taken back"
        for path, mode in zip(paths, MODES, strict=True):
            status = path.lstat()
            if (status.st_mode & 0o777, status.st_mtime_ns) != (mode, 10**18 + mode):
                yield f"{path} got another mode or time"


def bytes_wrong(when, paths):
    for path in paths:
        if not path.is_file():
            yield f"{when}: {path} is no file"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != DIGEST:
            yield f"{when}: {path} has other bytes"


main()
