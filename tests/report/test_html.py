"""The page: valid, complete in itself, inert whatever names it holds, equal to the table."""

import base64
import hashlib
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from html_pages import Page, numbers, texts
from models import edit_meta, forge

from mlx_probe.report.html import report_html
from mlx_probe.report.html.encoding import script_json
from mlx_probe.report.html.payload import run_payload
from mlx_probe.report.run_data import RunData, load_run_data, metric_names

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>alert(1)</script>",
    "\x1b[31mred\x1b]0;title\x07",
    "line\u2028and\u2029paragraph",
    '" onmouseover="alert(1)',
    "%{customdata} <a href='javascript:alert(1)'>",
    "\ud800 lone",
    "a\u202eb",
)


def assert_inert(page):
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"img", "link", "iframe", "object", "embed", "form", "base", "a:href"}
    assert len(page.scripts) == 3
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert not {"src", "srcset", "action", "data"} & attributes.keys()
        assert attributes.get("href", "#").startswith("#")


def test_the_page_loads_nothing(data):
    text = report_html(data)
    page = Page(text)
    assert_inert(page)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    text.encode("utf-8")


def test_the_policy_allows_the_page_s_own_scripts_alone(data):
    page = Page(report_html(data))
    (policy,) = [
        attributes["content"]
        for tag, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    wanted = [hashlib.sha256(s.encode()).digest() for s in page.scripts[1:]]
    hashes = [base64.b64encode(digest).decode() for digest in wanted]
    assert rules["script-src"].split() == [f"'sha256-{value}'" for value in hashes]
    assert not [value for value in rules.values() if re.search(r"https?:|\*|unsafe-eval", value)]


def test_the_page_says_what_the_model_is(data):
    text = " ".join(Page(report_html(data)).text)
    for words in (
        "tiny",
        "safetensors",
        "model type llama",
        "numpy on cpu",
        "all 16 checks passed",
    ):
        assert words in text
    assert "parameters" in text


@pytest.fixture
def hostile(copied):
    """A run whose tensors, block types and model have the names of `HOSTILE`."""
    readable = [name for name in HOSTILE if "\ud800" not in name]

    def edit(table):
        for column in ("param_name", "block_type", "status_reason", "dtype"):
            values = [readable[row % len(readable)] for row in range(table.num_rows)]
            at = table.column_names.index(column)
            table = table.set_column(at, table.schema.field(column), [pa.array(values)])
        return table

    def rename(meta):
        meta["model"] |= {"id": HOSTILE[0], "path": HOSTILE[6], "revision": HOSTILE[2]}
        meta["command"] = list(HOSTILE)
        meta["validation"]["checks"][0] |= {"passed": False, "detail": HOSTILE[0]}
        meta["stages"] = {HOSTILE[0]: {"seconds": 1.0}}

    def main_table_alone(meta):
        meta["outputs"] = {n: o for n, o in meta["outputs"].items() if n.startswith("params.")}
        meta.pop("tables", None)

    before = load_run_data(copied)
    after = load_run_data(edit_meta(forge(edit_meta(copied, main_table_alone), edit), rename))
    first = before.frame["param_name"].drop_duplicates()
    renamed = dict(zip(first, after.frame["param_name"][first.index], strict=True))
    spectra = before.spectra.assign(param_name=before.spectra["param_name"].map(renamed))
    return RunData(after.frame, after.columns, after.meta, {}, spectra)


def test_hostile_names_are_inert(hostile):
    text = report_html(hostile)
    text.encode("utf-8")
    page = Page(text)
    assert_inert(page)
    assert HOSTILE[0] in "".join(page.text)
    own = text.replace(page.scripts[1], "")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\u202e]", own)
    assert {kind.removesuffix(" vector") for kind in page.run["group_names"]} <= set(HOSTILE)
    assert HOSTILE[1] in texts(page.run["tables"]["params"]["columns"][3])


@pytest.mark.parametrize("name", HOSTILE)
def test_script_json_is_inert(name):
    text = script_json({name: [name]})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {name: [name]}


def test_the_data_are_the_table_s(data):
    page = Page(report_html(data)).run
    table = page["tables"]["params"]
    assert [column["name"] for column in table["columns"]] == list(data.frame.columns)
    for column in table["columns"]:
        values = data.frame[column["name"]]
        if column["kind"] == "text":
            assert [text is None for text in texts(column)] == values.isna().tolist()
            if pd.api.types.is_string_dtype(values):
                assert texts(column) == [None if pd.isna(v) else v for v in values]
        else:
            wanted = values.to_numpy(dtype=float, na_value=np.nan)
            np.testing.assert_array_equal(numbers(column), wanted)


def test_every_metric_with_values_can_be_chosen(data):
    payload = run_payload(data)
    offered = payload["tables"]["params"]["map"]["metrics"]
    numeric = data.frame.select_dtypes(["number", "boolean"])
    wanted = {name for name in numeric if numeric[name].notna().any()}
    assert set(offered) == wanted - {"layer_index", "expert_index"}
    described = {column["name"]: column for column in payload["tables"]["params"]["columns"]}
    assert described["effective_rank"]["about"]
    assert described["effective_rank"]["family"] == "Spectrum"


def test_spectra_are_those_of_the_run(data):
    page = Page(report_html(data)).run
    spectra, frame = page["spectra"], data.frame
    assert spectra["kept"] == spectra["total"] == len(data.spectra) == len(spectra["of"])
    for row, entry in spectra["of"].items():
        measured = frame.iloc[int(row)]
        sigma = numbers(entry)
        assert entry["count"] == min(measured["rows"], measured["cols"])
        assert len(sigma) == len(spectra["ranks"][str(entry["count"])])
        if not pd.isna(measured["spectral_norm"]):
            assert sigma[0] == pytest.approx(measured["spectral_norm"], rel=1e-6)


def test_the_null_is_at_the_level_of_the_edge(data):
    spectra, frame = run_payload(data)["spectra"], data.frame
    compared = 0
    for row, entry in spectra["of"].items():
        edge = frame["mp_edge"].iloc[int(row)]
        if entry["noise"] is None:
            assert pd.isna(edge)
            continue
        null = numbers(spectra["nulls"][entry["shape"]]) * entry["noise"]
        # The largest expected value of noise lies below the edge, by less for large matrices.
        assert 0.8 * edge < null[0] < edge
        compared += 1
    assert compared


def test_a_run_without_spectra(data):
    bare = RunData(data.frame, data.columns, data.meta)
    page = Page(report_html(bare))
    assert page.run["spectra"] is None
    assert set(page.run["tables"]) == {"params"}


def test_a_run_of_an_older_version(data):
    """Columns, parts and metadata that it did not have yet."""
    kept = ["param_name", "layer_index", "block_type", "shape", "rows", "cols", "rank", "std"]
    frame = data.frame[kept]
    columns = tuple(column for column in data.columns if column.name in kept)
    page = Page(report_html(RunData(frame, columns, {"model": {"id": "old"}})))
    assert page.run["tables"]["params"]["map"]["metrics"] == ["std", "rows", "cols", "rank"]
    assert "old" in "".join(page.text)


def test_an_empty_run(data):
    empty = RunData(data.frame.iloc[:0], data.columns, data.meta)
    page = Page(report_html(empty))
    assert page.run["tables"]["params"]["map"] is None
    assert not [a for _, a in page.elements if a.get("id") == "maps"]


def test_a_comparison(make):
    meta = {
        "kind": "compare",
        "models": {"a": {"id": "base", "revision": "1"}, "b": {"id": "tuned", "revision": "2"}},
    }
    data = make(
        meta,
        other_name=[f"layers.{row}.w" for row in range(3)],
        status=["ok", "identical", "only_a"],
        status_reason=[None, None, "B has no such tensor"],
        relative_change=[0.5, 0.0, np.nan],
        delta_rank=pd.array([3, 0, None], dtype="Int64"),
        cosine=[0.9, 1.0, np.nan],
    )
    page = Page(report_html(data))
    data = page.run
    assert data["compare"]
    assert data["tables"]["params"]["map"]["metrics"][0] == "relative_change"
    assert {"delta_rank", "cosine"} <= set(data["tables"]["params"]["map"]["metrics"])
    assert data["outliers"] == [
        {"row": 2, "reasons": [["status", "only_a: B has no such tensor"]]},
    ]
    text = "".join(page.text)
    assert "base against tuned" in text
    assert "What changed where" in text
    assert not [a for _, a in page.elements if a.get("id") == "quantization"]


def test_side_tables_have_maps_and_rows(data):
    heads = pd.DataFrame(
        {
            "layer_index": [0, 0, 0, 0],
            "circuit": ["qk", "qk", "ov", "ov"],
            "head_index": [0, 1, 0, 1],
            "stable_rank": [2.0, 3.0, 4.0, 5.0],
        }
    )
    experts = pd.DataFrame(
        {
            "layer_index": [0, 0],
            "block_type": ["up_proj", "up_proj"],
            "expert_index": [0, 1],
            "nearest_cosine": [0.1, 0.2],
        }
    )
    both = RunData(data.frame, data.columns, data.meta, {"heads": heads, "experts": experts})
    page = Page(report_html(both))
    tables = page.run["tables"]
    assert tables["heads"]["map"] == {
        "rows": "head_index",
        "split": "circuit",
        "metrics": ["stable_rank"],
    }
    assert tables["experts"]["map"]["rows"] == "expert_index"
    assert tables["experts"]["map"]["split"] is None
    drawn = {a.get("data-table") for _, a in page.elements if a.get("class") == "map"}
    assert drawn == {"heads", "experts"}


def test_metric_names_are_columns_of_numbers(make):
    frame = make(std=[1.0, 2.0], empty=[np.nan] * 2, word=["a", "b"], flag=[True, False]).frame
    assert metric_names(frame) == ["std", "flag"]
