"""What tests of backups share: trees of every kind of file, and what is equal about two."""

import hashlib
import os
import stat
from pathlib import Path

from mlx_probe.library.backup import (
    SILENT,
    BackupConfig,
    choose_repository,
    open_repository,
    resolve,
)

MODES = (0o644, 0o600, 0o755, 0o444, 0o640)


def make_tree(folder, chance, files=30):
    """Mixed files: text, noise, empty, links, odd names, a hole, modes and old times."""
    folder.mkdir(parents=True)
    places = [folder]
    for n in range(4):
        places.append(places[chance.randrange(len(places))] / f"d{n} ü")
        places[-1].mkdir()
    for n in range(files):
        path = chance.choice(places) / f"file {n}"
        size = chance.choice([0, 1, 63, 5_000, 70_000])
        text = b"a line of a log\n" * (size // 16)
        path.write_bytes(chance.choice([text, chance.randbytes(size)]))
        path.chmod(chance.choice(MODES))
        age(path, chance.randrange(10**18, 17 * 10**17))
    (folder / "link").symlink_to("../nowhere//at all")
    os.link(folder / "link", folder / "link too", follow_symlinks=False)
    (folder / "empty").mkdir(mode=0o500)
    (folder / "one").write_text("two names")
    (folder / "empty name\n").write_text("x")
    (folder / "d0 ü" / "other name").hardlink_to(folder / "one")
    os.mkfifo(folder / "pipe")
    with (folder / "holes").open("wb") as file:
        file.seek(9_000_000)
        file.write(b"end")
    for place in reversed(places):
        age(place, chance.randrange(10**18, 17 * 10**17))
    return folder


def age(path, ns):
    os.utime(path, ns=(ns, ns), follow_symlinks=False)


def facts(folder, times=True):
    """Everything about a tree that a restore has to give back, by path."""
    found, names = {}, {}
    root = os.fsencode(folder)
    # Bytes: names need not be text.
    for place, folders, files in os.walk(root):
        for path in [place + b"/" + name for name in (*folders, *files)] + [place]:
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            fact = [kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid]
            fact += [status.st_mtime_ns] if times else []
            if kind == stat.S_IFREG:
                fact.append(hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest())
                names.setdefault((status.st_dev, status.st_ino), []).append(path)
            elif kind == stat.S_IFLNK:
                fact.append(os.readlink(path))  # noqa: PTH115  as it was written
            found[os.path.relpath(path, root)] = fact
    together = sorted(
        sorted(os.path.relpath(p, root) for p in paths) for paths in names.values() if paths[1:]
    )
    return found, together


def back_up(repo, *paths, kind="own", **settings):
    repository = choose_repository(repo, kind)
    settings.setdefault("database", repo.parent / "no catalog")
    return repository.create(resolve(paths, repo), BackupConfig(**settings), SILENT)


def restore(repo, out, name="latest", **settings):
    settings.setdefault("skip_damaged", False)
    repository = open_repository(repo)
    return repository.restore(name, out, settings["skip_damaged"], SILENT)


def verify(repo):
    return open_repository(repo).verify(SILENT)


def every_file(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())
