"""The proof: models with a planted fault, and clean ones.

With `--long` 40 and 20 of them; otherwise each kind of fault twice.
"""

import json
from itertools import chain

import numpy as np
import pytest
from planted_faults import FAULTS
from repetitions import times
from trained_models import ARCHITECTURES
from weightfiles import write_safetensors

from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.findings import FINDINGS, RunView, findings_in
from mlx_probe.analysis.opening import describe_model, open_checkpoint
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.side_tables import side_tables
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.stream import analyze_rows
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.runs.table.schema import rows_to_table

SEED = 0
LEAST_NAMED = 0.95


def analyzed(folder, arrays, config):
    """Findings by the main path of an analysis, without a run folder."""
    folder.mkdir()
    stored = {name: np.ascontiguousarray(x, np.float32) for name, x in arrays.items()}
    write_safetensors(folder / "model.safetensors", stored)
    (folder / "config.json").write_text(json.dumps(config))
    settings = AnalyzeConfig(backend="numpy", metrics="full", workers=1)
    with open_checkpoint(folder) as checkpoint, UsageMeter(STAGES) as meter:
        plan = make_plan(checkpoint, settings)
        rows = chain.from_iterable(analyze_rows(plan, {}, meter, lambda weight: None))
        table = rows_to_table(rows, plan.columns)
        described = {"model": describe_model(checkpoint)}
        return findings_in(RunView(table, side_tables(plan, meter), described))


def planted_model(number, seed=SEED):
    """A model with the fault of its turn: kinds in turn, then ways and architectures."""
    rng, turn = np.random.default_rng([seed, number]), number // len(FAULTS)
    ways, architectures = list(FAULTS.values())[number % len(FAULTS)]
    arrays, config = ARCHITECTURES[architectures[turn % len(architectures)]](rng)
    fault = ways[turn % len(ways)](arrays, rng)
    return arrays, config, fault


def clean_model(number, seed=SEED):
    rng = np.random.default_rng([seed, 1000 + number])
    return list(ARCHITECTURES.values())[number % len(ARCHITECTURES)](rng)


def names(findings, fault):
    """Whether the fault is in the first five sentences, by its rule and its tensor."""
    return any(
        finding.rule == fault.rule and any(fault.tensor in row for row in finding.rows)
        for finding in findings[:5]
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    found = []
    for number in range(times(2 * len(FAULTS), 40)):
        arrays, config, fault = planted_model(number)
        found.append((fault, analyzed(folder / f"{number}", arrays, config)))
    return found


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    return [analyzed(folder / f"{n}", *clean_model(n)) for n in range(times(10, 20))]


def test_faults_are_named_in_the_first_five_sentences(planted):
    assert len(FAULTS) == 12
    missed = [fault for fault, found in planted if not names(found, fault)]
    assert len(missed) <= (1 - LEAST_NAMED) * len(planted), missed


def test_clean_models_are_left_alone(clean):
    high = [f.sentence.english for found in clean for f in found if f.severity == "high"]
    # One of twenty.
    assert len(high) <= times(0, 1), high


def test_a_planted_model_has_few_other_findings(planted):
    """A list of everything would name the fault as well."""
    others = sum(len(found) - names(found, fault) for fault, found in planted)
    assert others <= 1.5 * len(planted)


def test_most_clean_models_have_nothing_to_say(clean):
    assert sum(not found for found in clean) >= 0.8 * len(clean)


def test_every_sentence_has_its_numbers(planted):
    for _, found in planted:
        for finding in found:
            assert finding.rule in FINDINGS
            text = finding.sentence.english
            assert text[0].isupper() or text[0].isdigit() or text.split()[0] in finding.rows[0]
            assert text.endswith(".")
            assert "nan" not in text.lower().split() or finding.rule == "nonfinite"
            assert 0 <= finding.size <= 1
            assert finding.rows
            json.dumps(finding.as_json(), allow_nan=False)
