"""Each recipe of docs/en/query.md, as it stands there, gives what is true of the models."""

import re

import numpy as np
import pytest
from project import ROOT
from stored_runs import LOUD, POOR, POOR_RANK

PAGE = (ROOT / "docs/en/query.md").read_text("utf-8")
RECIPES = dict(re.findall(r"^### (.+?)$.*?^```sql\n(.*?)^```$", PAGE, re.M | re.S))


def measured(rows, arrays):
    assert {row["run"] for row in rows} == {"base", "tuned", "quick"}
    assert all(row["rows"] == len(arrays) and row["mb"] > 50 for row in rows)
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds, reverse=True)


def summaries(rows, arrays):
    # Planted in the metadata: one of severity high, one note.
    assert {row["run"] for row in rows} == {"base", "tuned", "quick"}
    base = next(row for row in rows if row["run"] == "base")
    assert (base["findings_high"], base["findings_medium"]) == (1, 0)
    # One matrix has lost 28 of its 40 dimensions.
    assert 0.9 < base["rank_share"] < 1
    assert base["stable_rank"] > 1
    high = [row["findings_high"] for row in rows]
    assert high == sorted(high, reverse=True)


def stable_ranks(rows, arrays):
    by_kind = {row["block_type"]: row for row in rows}
    ranks = []
    for name, array in arrays.items():
        if "q_proj" in name:
            s = np.linalg.svd(array.astype(np.float64), compute_uv=False)
            ranks.append((s**2).sum() / s[0] ** 2)
    assert by_kind["q_proj"]["base"] == round(float(np.median(ranks)), 2)
    # Metrics of the set "basic" have none.
    assert set(rows[0]) == {"block_type", "base", "tuned"}


def lost_rank(rows, arrays):
    poor = [row for row in rows if row["param_name"] == POOR]
    assert {row["run"] for row in poor} == {"base", "tuned", "quick"}
    assert all((row["rank"], row["full_rank"]) == (POOR_RANK, 40) for row in poor)
    assert rows[0]["param_name"] == POOR


def parameters(rows, arrays):
    for run in ("base", "tuned", "quick"):
        mine = [row for row in rows if row["run"] == run]
        assert sum(row["percent"] for row in mine) == pytest.approx(100, abs=1)
        copy = 24 * 40  # of one expert
        assert sum(row["parameters"] for row in mine) == sum(map(np.size, arrays.values())) - copy


def outliers(rows, arrays):
    layer, kind = LOUD.split(".")[2], LOUD.split(".")[-2]
    loud = [r for r in rows if (r["layer_index"], r["block_type"]) == (int(layer), kind)]
    # In each of the runs that have the column.
    assert {row["run"] for row in loud} == {"base", "tuned"}
    assert all(row["z"] < -2 for row in loud)


def two_runs(rows, arrays):
    first, second, *_ = rows
    assert first["param_name"] == "model.layers.3.self_attn.q_proj.weight"
    assert first["change"] == first["after"] - first["before"] != 0
    assert second["change"] == 0


def mean_alpha(rows, arrays):
    assert [row["run"] for row in rows] == ["base", "quick", "tuned"]
    base, quick, _ = rows
    assert quick["fits"] == quick["reliable"] == 0
    assert quick["mean_alpha"] is None
    assert 0 <= base["reliable"] <= base["fits"]
    assert base["fits"] > 0


def top_ten(rows, arrays):
    # One direction, that is all of its energy.
    assert {row["param_name"] for row in rows[:2]} == {LOUD}
    for row in rows[2:]:
        s = np.linalg.svd(arrays[row["param_name"]].astype(np.float64), compute_uv=False) ** 2
        if row["run"] == "base":
            assert row["top10"] == pytest.approx(s[:10].sum() / s.sum(), rel=1e-6)


def heads(rows, arrays):
    assert {(row["run"], row["circuit"]) for row in rows} == {
        (run, circuit) for run in ("base", "tuned") for circuit in ("qk", "ov")
    }
    assert all(0 < row["effective_rank"] <= 8 for row in rows)


def experts(rows, arrays):
    twins = {(row["expert_index"], row["nearest_expert"]) for row in rows[:4]}
    assert twins == {(1, 3), (3, 1)}
    assert rows[0]["nearest_cosine"] == pytest.approx(1)


def changed(rows, arrays):
    (row,) = rows
    assert row["param_name"] == "model.layers.3.self_attn.q_proj.weight"
    assert row["relative_change"] == pytest.approx(0.5, rel=1e-3)


def unmeasured(rows, arrays):
    (row,) = rows
    assert row["id"].endswith("other")
    assert row["parameters"] == 16


CHECKS = {
    "What was measured, and what it took": measured,
    "Models by their summaries, with what is unusual about them": summaries,
    "Stable rank by kind of matrix, a column for each run": stable_ranks,
    "Matrices that have lost rank": lost_rank,
    "Where the parameters are": parameters,
    "Layers that stand out among their kind": outliers,
    "The same tensor in two runs": two_runs,
    "Mean alpha, of reliable fits only": mean_alpha,
    "Share of the energy in the ten largest singular values": top_ten,
    "Attention heads that read and write the fewest directions": heads,
    "Experts that are alike": experts,
    "What a comparison changed most": changed,
    "Models that nobody has measured": unmeasured,
}


def test_every_recipe_is_checked():
    assert list(RECIPES) == list(CHECKS)


def test_the_chinese_page_has_the_same_statements():
    page = (ROOT / "docs/zh/query.md").read_text("utf-8")
    assert re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S) == list(RECIPES.values())


@pytest.mark.parametrize("title", CHECKS)
def test_a_recipe_gives_what_is_true(ask, stored, title):
    rows = ask(RECIPES[title])
    assert rows
    CHECKS[title](rows, stored.arrays)
