"""Kills backups, restores and prunes at random moments and looks at what is left: a script.

    python tests/backup_kills.py FOLDER KILLS

Each is a fork of this process: a start of the interpreter takes longer than all of its work.
Prints how many kills hit one that had begun and not ended.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from backups import back_up, facts, make_tree, restore, verify

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.backup import Keep, open_repository


def in_fork(work, seconds=None):
    """Do something in a process of its own; killed after so many seconds. Whether it ended."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL), status
    return status == 0


def timed(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began


def snapshots(repo):
    try:
        found, damage = open_repository(repo).snapshots()
    except ConfigError:  # killed before there was an archive
        return []
    assert not damage
    return found


def main(folder, kills):
    chance, hit = random.Random(1), {"create": 0, "restore": 0, "prune": 0}
    tree = make_tree(folder / "tree", chance, files=120)
    repo, out = folder / "repo", folder / "out"
    once = timed(lambda: back_up(folder / "measured", tree))
    for number in range(kills):
        before = len(snapshots(repo))
        (tree / f"new {number}").write_bytes(chance.randbytes(60_000))
        ended = in_fork(lambda: back_up(repo, tree), chance.uniform(0, 1.1 * once))
        hit["create"] += not ended
        # A snapshot is there if its manifest had its name when the kill came.
        assert len(snapshots(repo)) in ((before + 1,) if ended else (before, before + 1))
        if repo.is_dir() and (repo / "config.json").exists():
            found = verify(repo)
            assert not found.damage, found.damage
            for note in found.notes:
                assert "killed" in note or "prune" in note, note
        if snapshots(repo):
            shutil.rmtree(folder / "whole", ignore_errors=True)
            restore(repo, folder / "whole")
    back_up(repo, tree)
    assert not [path for path in repo.rglob(".*") if path.is_file()]
    was = facts(tree)
    shutil.rmtree(folder / "whole")
    once = timed(lambda: restore(repo, folder / "whole"))
    for _ in range(kills):
        ended = in_fork(lambda: restore(repo, out), chance.uniform(0, 1.1 * once))
        hit["restore"] += not ended
        assert out.exists() or not ended
        if out.exists():
            assert facts(out / "tree") == was
            shutil.rmtree(out)
    restore(repo, out)
    assert facts(out / "tree") == was
    left = [path.name for path in folder.iterdir() if "restoring" in path.name]
    assert not left, left
    shutil.copytree(repo, folder / "copy")
    prune = lambda: open_repository(repo).prune(Keep(last=1), is_dry=False)  # noqa: E731
    once = timed(prune)
    for _ in range(kills):
        shutil.rmtree(repo)
        shutil.copytree(folder / "copy", repo)
        hit["prune"] += not in_fork(prune, chance.uniform(0, 1.1 * once))
        assert not verify(repo).damage
        prune()
        found = verify(repo)
        assert (found.damage, found.notes, found.snapshots) == ((), (), 1)
    shutil.rmtree(out)
    restore(repo, out)
    assert facts(out / "tree") == was
    print(json.dumps(hit))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
