"""The page of a graft: the damage curve of its receipt."""

import json

import numpy as np
import pytest
from html_pages import Page, numbers
from mixture_runs import LOSSES, RECEIPT
from models import invoke

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.report.graft_receipt import damage_frame, graft_sentences, read_graft
from mlx_probe.report.html.graft_page import graft_html
from mlx_probe.report.html.write import write_report


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "graft_receipt.json").write_text(json.dumps(RECEIPT))
    return tmp_path


def test_the_page_has_the_curve_and_the_dense_loss(folder):
    page = write_report(folder)
    assert page == folder / "report.html"
    parsed = Page(page.read_text("utf-8"))
    columns = {one["name"]: one for one in parsed.run["tables"]["damage"]["columns"]}
    assert numbers(columns["active"]).tolist() == list(range(1, 9))
    assert numbers(columns["loss"]).tolist() == [LOSSES[active] for active in range(1, 9)]
    added = np.array([LOSSES[active] for active in range(1, 9)]) - 3.19
    np.testing.assert_array_equal(numbers(columns["added"]), added)
    assert parsed.data["loss_before"] == 3.19
    assert "a/<b>model" in "".join(parsed.text)


def test_sentences_of_the_receipt(folder):
    said = "\n".join(graft_sentences(read_graft(folder)))
    assert "dense model is 3.1900 nats a token, that of the mixture 3.2000" in said
    assert "over 64 tokens is 2.5e-06" in said
    assert "half of the experts (4 of 8) for each token the loss is 5.200, 2.010 more" in said
    printed = invoke("report", folder / "graft_receipt.json", "--terminal").stdout
    assert "5.200, 2.010 more" in " ".join(printed.split())


def test_a_graft_that_was_not_run_has_no_curve():
    receipt = {**RECEIPT, "run": False, "damage": [], "loss_before": None}
    assert damage_frame(receipt).empty
    page = graft_html(receipt, "cut")
    assert 'id="damage"' not in page
    assert "The models were not run" in page


def test_a_damaged_receipt_is_refused(folder):
    with pytest.raises(ConfigError, match="has a page of its own"):
        write_report(folder, other=folder)
    path = folder / "graft_receipt.json"
    path.write_text(json.dumps({"model": "a"}))
    with pytest.raises(ResultError, match=r"graft_receipt\.json has no active"):
        read_graft(folder)
    path.write_text("{")
    with pytest.raises(ResultError, match=r"graft_receipt\.json is damaged"):
        read_graft(folder)
