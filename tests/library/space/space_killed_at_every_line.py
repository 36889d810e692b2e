"""Run by test_space.py: a process is killed at every 29th line of a change, in turn.

Arguments: an empty folder; "remove", "restore" or "empty".

Prints how many lines there were, and what was wrong after any of them.
"""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import huggingface_hub.constants
from killed_lines import ended_before, open_database
from planted_space import contents, revision

from mlx_probe.library.experiments.moving import settle_bin
from mlx_probe.library.space import (
    batches,
    empty_batches,
    find_items,
    gathering,
    put_away,
    restore_batch,
)

WATCHED = ("experiments/moving.py", "space/bin.py", "space/removing.py")
# Every single line of the moving itself is a step in `bin_killed_at_every_line.py`.
STRIDE = 29


def main():
    root, action = Path(sys.argv[1]), sys.argv[2]
    step = 0
    root.mkdir()
    os.chdir(root)
    os.environ.update(HOME=str(root), MLX_PROBE_CACHE=str(root / "cache"))
    # Listing all processes takes longer than everything else.
    gathering.open_paths = set
    wrong = []
    while True:
        step += STRIDE
        case = root / "case"
        shutil.rmtree(case, ignore_errors=True)
        huggingface_hub.constants.HF_HUB_CACHE = str(case / "hub")
        revision(case, "o/m", "old", 100, ["one"])
        whole = contents(case / "hub")
        with open_database(case / "c.sqlite") as database:
            items = find_items(database, ["old-revisions"]).items
            if action != "remove":
                put_away(database, items)
        if finished(step, case, items, action):
            print("\n".join([str(step), *wrong]))
            return
        wrong += [f"step {step}: {fault}" for fault in faults(case, action, whole, items)]


def finished(step, case, items, action):
    """Whether the action came to its end before that line."""

    def act(database):
        if action == "remove":
            put_away(database, items)
        elif action == "restore":
            restore_batch(database, batches(database)[0])
        else:
            empty_batches(database, batches(database))

    return ended_before(step, WATCHED, case / "c.sqlite", act)


def faults(case, action, whole, items):
    """What is wrong: each path is here, or in the bin, and comes back or is gone for good."""
    with open_database(case / "c.sqlite") as database:
        settle_bin(database)
        held = [Path(os.fsdecode(row["folder"])) for row in database.rows("SELECT folder FROM bin")]
        for path in items[0].paths:
            there = [each for each in held if each.name == path.name and os.path.lexists(each)]
            if action != "empty" and os.path.lexists(path) + len(there) != 1:
                yield f"{path} is here: {os.path.lexists(path)}, in the bin: {there}"
        if action == "empty":
            empty_batches(database, batches(database))
        else:
            for batch in batches(database):
                if skipped := restore_batch(database, batch).skipped:
                    yield f"not restored: {skipped}"
            if contents(case / "hub") != whole:
                yield "it is not as it was"
        if batches(database) or list(case.rglob(".mlx-probe-bin/*/*")):
            yield "something is left in the bin"


main()
