"""Run by test_bin.py: a process is killed at every line of moving a folder, in turn.

Arguments: an empty folder, "rm" or "restore".

Prints how many lines there were and what was wrong after any of them, as JSON.
"""

import json
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiment_runs import analysis
from killed_lines import ended_before, open_database

from mlx_probe.library.experiments import (
    load_bin,
    load_runs,
    remove_run,
    restore_run,
    scan_experiments,
    set_run_note,
    settle_bin,
)

WATCHED = ("experiments/bin.py", "experiments/moving.py")


def main():
    root, action = Path(sys.argv[1]), sys.argv[2]
    wrong, step = [], 0
    root.mkdir()
    os.chdir(root)
    while True:
        step += 1
        case = root / "case"
        shutil.rmtree(case, ignore_errors=True)
        run = analysis(case / "runs" / "run")
        with open_database(case / "c.sqlite") as database:
            scan_experiments(database, [case / "runs"])
            set_run_note(database, load_runs(database)[0], "a note")
            if action == "restore":
                remove_run(database, run)
        if finished(step, case, run, action):
            print(json.dumps({"steps": step - 1, "wrong": wrong}))
            return
        wrong += [f"step {step}: {fault}" for fault in faults(case, run)]


def finished(step, case, run, action):
    """Whether the action came to its end before that line."""
    with open_database(case / "c.sqlite") as database:
        tokens = [entry.token for entry in load_bin(database)]

    def act(database):
        if action == "rm":
            remove_run(database, run)
        else:
            restore_run(database, tokens[0])

    return ended_before(step, WATCHED, case / "c.sqlite", act)


def faults(case, run):
    """What is wrong: the folder is whole in one of two places, and the catalog says in which."""
    with open_database(case / "c.sqlite") as database:
        settle_bin(database)
        entries, runs = load_bin(database), load_runs(database, binned=None)
        if [(each.note, each.missing) for each in runs] != [("a note", False)]:
            yield f"runs: {runs}"
        here, binned = run.exists(), [entry for entry in entries if not entry.missing]
        if here == bool(binned):
            yield f"here: {here}, in the bin: {binned}"
        if entries != binned or any(entry.state != "binned" for entry in entries):
            yield f"entries: {entries}"
        if not runs[0].marker.is_file() or bool(runs[0].token) != bool(binned):
            yield f"the catalog says {runs[0].marker}"
        scan_experiments(database)
        if len(load_runs(database, binned=None)) != 1:
            yield "a scan finds it twice"
        if binned:
            restore_run(database, binned[0].token)
        else:
            remove_run(database, run)
            restore_run(database, load_bin(database)[0].token)
        if not (run / "run_meta.json").is_file():
            yield "it does not come back"


main()
