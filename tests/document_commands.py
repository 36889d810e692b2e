"""What is run of `docs` and `knowledge` for the tests of --json; see tests/cli/test_json.py."""

from importlib.util import find_spec

GOOD = {
    "docs check": [("{text}", 1)],
    "docs init": [("{out}/notes", 0)],
    "docs new": [
        ("lesson A␣lesson --dir {project}", 0),
        ("experiment A␣run --run {runs}/base --dir {project}", 0),
    ],
    # What converts notebooks is an extra.
    "docs notebook": [("{page} --dir {project}", 0)] if find_spec("nbconvert") else [],
    "docs index": [("--dir {project}", 0)],
    "docs log": [("a␣line --dir {project}", 0)],
    "docs rules": [("--dir {project}", 0), ("--dir {project} --check", 0)],
    "knowledge": [("rules --dir {project}", 0)],
}
BAD = {
    "docs check": ("{nothing}", 2),
    "docs init": ("{project}/inside", 2),
    "docs new": ("lesson ... --dir {project}", 2),
    "docs notebook": ("{nothing} --dir {project}", 2),
    "docs index": ("--dir {nothing}", 2),
    "docs log": ("x --dir {nothing}", 2),
    "docs rules": ("--dir {nothing}", 2),
    "knowledge": ("... --dir {project}", 2),
}
