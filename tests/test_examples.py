"""The examples run as they are, one after the other in one folder, and show what they promise."""

import re
import subprocess
import sys
from functools import cache

import pytest
from project import ROOT

FOLDER = ROOT / "examples"
# What each prints, of all the lines. Those that go on with the run of 01 read it from the folder.
SHOWN = {
    "01_train_tiny": [
        r"[\d,]+ parameters, 30,720 tokens seen",
        r"   60 +\d\.\d+ +\d\.\d+ +0\.\d+",
        r"the best possible model: 0\.378 bits per byte",
    ],
    "02_own_data": [
        r"train: [\d,]+ documents, [\d,]+ bytes, [\d,]+ tokens, [\d.]+ bytes_per_token",
        r"as tokens: \['The', .*\]",
        r"[12]\.\d+ bits per byte after 30 steps",
    ],
    "03_sampling": [
        r"most likely token +\| 'The old king.*'",
        r"a tenth of the best: min-p +\| 'The old king.*'",
        r"same seed, same text: True",
    ],
    "04_resume": [
        r"killed: \d+ steps have a line of metrics",
        r"weights have the same bits: True",
        r"all 25 lines of metrics are the same: True",
    ],
    "05_watch_spectra": [
        r"measured snapshots: steps 0 1 3 10 32 60",
        r"step +0 +1 +3 +10 +32 +60 *",
        r" +0 +\d\.\d+ #{40}",
        r"the page: runs/tiny/report\.html",
    ],
    "06_fine_tune": [
        r"before fine-tuning +0\.\d+ +1\.\d+",
        r"after fine-tuning +0\.\d+ +\d\.\d+",
        r"At night .*",
    ],
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Runs an example, once, and gives what it printed."""
    folder = tmp_path_factory.mktemp("examples")
    return cache(lambda name: printed(name, folder))


def printed(name, folder):
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_example_is_here():
    assert sorted(path.stem for path in FOLDER.glob("0*.py")) == sorted(SHOWN)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_an_example_runs_and_shows_what_it_is_about(name, shown):
    text = shown(name)
    for line in SHOWN[name]:
        assert re.search(f"^{line}$", text, re.MULTILINE), f"{line}\n{text}"


@pytest.mark.slow
def test_fine_tuning_learns_the_new_text_and_forgets_some_of_the_old(shown):
    text = shown("06_fine_tune")
    before, after = (
        [float(number) for number in re.findall(r"\d\.\d+", line)]
        for line in re.findall(r"^(?:before|after) .*$", text, re.MULTILINE)
    )
    assert before[0] < after[0]
    assert after[1] < before[1]


@pytest.mark.slow
def test_no_model_is_better_than_the_best_possible_one(shown):
    text = shown("01_train_tiny")
    (best,) = re.findall(r"best possible model: ([\d.]+)", text)
    reached = [float(line.split()[3]) for line in re.findall(r"^ +\d+ .*$", text, re.MULTILINE)]
    assert reached == sorted(reached, reverse=True)
    assert float(best) < reached[-1]
