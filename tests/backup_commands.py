"""The commands of backups as `tests/cli/test_json.py` runs them, and archives for these."""

import shutil

from models import invoke

GOOD = {
    "backup create": [("{text} {adapter} --repo {out}/new --with own --weights-above 1", 0)],
    "backup list": [("--repo {archive}", 0)],
    "backup verify": [("--repo {archive}", 0), ("--repo {damaged_archive}", 1)],
    "backup restore": [("latest --repo {archive} --out {out}/restored", 0)],
    "backup prune": [("--repo {archive} --keep-last 1 --dry-run", 0)],
    "backup drill": [("--repo {archive} --seed 1", 0)],
    "backup schedule": [("{text} --repo {archive} --scheduler cron", 0)],
}
BAD = {
    "backup create": ("{nothing} --repo {out}/new", 2),
    "backup list": ("--repo {nothing}", 2),
    "backup verify": ("--repo {nothing}", 2),
    "backup restore": ("nothing --repo {archive} --out {out}/restored", 2),
    "backup prune": ("--repo {archive} --yes", 2),
    "backup drill": ("--repo {nothing}", 2),
    "backup schedule": ("--repo {archive} --at noon", 2),
}


def make_archives(root):
    """One that is sound, with weights that are not stored, and one that is not."""
    archive = root / "archive"
    words = ("--repo", archive, "--with", "own", "--weights-above", "1")
    done = invoke("backup", "create", root / "text.txt", root / "adapter", *words)
    assert done.exit_code == 0, done.output
    damaged = shutil.copytree(archive, root / "damaged_archive")
    (damaged / "README.txt").write_text("x")
    return {"archive": archive, "damaged_archive": damaged}
