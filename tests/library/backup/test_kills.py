"""kill -9 at any moment of a backup, a restore, a prune."""

import json
import subprocess
import sys

from project import ROOT


def test_a_killed_one_leaves_the_archive_sound_and_goes_on(tmp_path):
    script = ROOT / "tests" / "backup_kills.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path, "10"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    hit = json.loads(done.stdout)
    # The moments are random, and the machine may be fast or slow.
    assert min(hit.values()) >= 2, hit
