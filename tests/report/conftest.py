import json
import shutil

import browser
import numpy as np
import pandas as pd
import pytest
from html_pages import HOSTILE_NAME
from models import arrays, copied, tiny, whole  # noqa: F401  fixtures
from stored_runs import stored  # noqa: F401  a fixture
from training_runs import RECIPE, metric_lines, write_metrics

from mlx_probe.core.records import Column
from mlx_probe.report.html import report_html
from mlx_probe.report.html.training_page import training_html
from mlx_probe.report.run_data import RunData, load_run_data
from mlx_probe.report.training_data import load_training_data


@pytest.fixture
def data(whole):  # noqa: F811
    return load_run_data(whole.folder)


@pytest.fixture
def make():
    """Run data of some columns; the others are those of a plain layer."""

    def make(meta=None, **columns):
        count = len(next(iter(columns.values())))
        frame = pd.DataFrame(
            {
                "param_name": [f"layers.{row}.w" for row in range(count)],
                "layer_index": range(count),
                "block_type": ["q_proj"] * count,
                **columns,
            }
        )
        known = tuple(Column(name, "float64", "moments", "") for name in frame.columns)
        return RunData(frame, known, meta or {})

    return make


@pytest.fixture(scope="session")
def hostile_run(whole):  # noqa: F811
    """The tiny model's run, with a tensor and a block type of a hostile name."""
    data = load_run_data(whole.folder)
    frame = data.frame.copy()
    old = frame["param_name"].iloc[0]
    frame.loc[0, "param_name"] = HOSTILE_NAME
    frame.loc[0, "block_type"] = HOSTILE_NAME
    # The tiny model's rows are too short for groups of 64, and its fits too short to be reliable.
    frame["q4_nrmse"] = np.linspace(0.1, 0.2, len(frame))
    frame["alpha_reliable"] = np.where(frame["alpha"].isna(), None, frame.index % 2 == 0)
    frame["alpha_reliable"] = frame["alpha_reliable"].astype("boolean")
    names = data.spectra["param_name"].replace({old: HOSTILE_NAME})
    heads = pd.DataFrame(
        {
            "layer_index": [0, 0, 1, 1],
            "circuit": ["qk", "ov", "qk", "ov"],
            "head_index": [0, 0, 0, 0],
            "stable_rank": [2.0, 3.0, 4.0, 5.0],
        }
    )
    spectra = data.spectra.assign(param_name=names)
    return RunData(frame, data.columns, data.meta, {"heads": heads}, spectra)


@pytest.fixture(scope="session")
def page(hostile_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report_html(hostile_run), "utf-8")
    return path


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """One browser for all tests of pages."""
    if browser.PATH is None:
        pytest.skip("no Chromium on the PATH")
    with browser.Browser(tmp_path_factory.mktemp("profile")) as started:
        started.user = None
        yield started


@pytest.fixture
def opened(chromium, page, request):
    """Opened once for a file of tests: what one test clicks, the next may find."""
    chromium.messages.clear()
    chromium.requests.clear()
    if chromium.user != request.path:
        chromium.open(page)
        chromium.user = request.path
    yield chromium
    assert chromium.messages == []
    outside = ("file:", "data:", "blob:", "about:")
    assert [url for url in chromium.requests if not url.startswith(outside)] == []


@pytest.fixture(scope="session")
def training(trained):
    return load_training_data([trained])


@pytest.fixture(scope="session")
def other_training(trained, tmp_path_factory):
    """A run with other metrics and settings, and the same snapshots."""
    folder = tmp_path_factory.mktemp("other") / "second run"
    shutil.copytree(trained, folder)
    write_metrics(folder, metric_lines(seed=1))
    meta = json.loads((folder / "run_meta.json").read_text())
    recipe = {**RECIPE, "train": {**RECIPE["train"], "learning_rate": 6e-3}}
    (folder / "run_meta.json").write_text(json.dumps({**meta, "recipe": recipe}))
    return folder


@pytest.fixture(scope="session")
def training_page(training, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(training_html(training), "utf-8")
    return path


@pytest.fixture(scope="session")
def training_pages(trained, other_training, tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "two.html"
    path.write_text(training_html(load_training_data([trained, other_training])), "utf-8")
    return path
