"""`mlx-probe plot`, in this process."""

import json

import pytest
from models import invoke, refuses

from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.cli import plot as command
from mlx_probe.report.figures import VIEWS, plot, style
from mlx_probe.report.figures.series import OVER


def test_the_choices_are_those_of_the_tables():
    assert tuple(VIEWS) == command._VIEWS
    assert ("params", *SIDES) == command._TABLES
    assert command._OVER == OVER


def test_files_of_every_format(whole, tmp_path):
    outs = [tmp_path / f"a.{form}" for form in ("svg", "pdf", "png", "csv")]
    options = [word for out in outs for word in ("-o", out)]
    result = invoke("plot", whole.folder, "std", *options, "--dpi", "50", "--width", "column")
    assert result.exit_code == 0, result.output
    assert [line.split(" (")[0] for line in result.stdout.splitlines()] == [str(o) for o in outs]
    assert [out.read_bytes()[:4] for out in outs] == [b"<?xm", b"%PDF", b"\x89PNG", b"run,"]


def test_json_is_what_python_gives(whole, tmp_path):
    result = invoke("plot", whole.folder, "std", "--json", "-o", tmp_path / "a.csv")
    assert json.loads(result.stdout) == plot(whole.folder, "std").describe()
    assert "a.csv" in result.stderr


def test_a_tensor_and_another_run(whole, copied):
    name = "model.layers.0.self_attn.q_proj.weight"
    result = invoke("plot", whole.folder, "--tensor", name, "--with", copied, "--json")
    described = json.loads(result.stdout)
    assert described["view"] == "spectrum"
    assert len(described["runs"]) == 2
    assert {point["tensor"] for point in described["points"]} == {name}


def test_damaged_spectra_are_in_the_way_of_spectra_only(copied, tmp_path):
    (copied / "spectra.parquet").write_bytes(b"damaged")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert invoke("plot", copied, "std", "--json").exit_code == 0
    # The tiny model's heads have no numbers, which is known once their table is read.
    heads = invoke("plot", copied, "rank", "--table", "heads", "--json")
    refuses(heads, "no numbers in a column", code=2)
    assert invoke("report", copied, "--terminal").exit_code == 0
    refuses(invoke("plot", copied, "--tensor", name, "--json"), "spectra.parquet", "Restore")
    refuses(invoke("report", copied), "spectra.parquet", "Restore")


def test_refusals(whole, tmp_path):
    refuses(invoke("plot", whole.folder, "std"), "where the figure goes", "-o", code=2)
    out = tmp_path / "a.gif"
    refuses(invoke("plot", whole.folder, "std", "-o", out), ".svg, .pdf", code=2)
    refuses(invoke("plot", tmp_path, "std", "-o", "a.svg"), "holds no run")
    both = ("-o", tmp_path / "a.csv", "-o", out)
    refuses(invoke("plot", whole.folder, "std", *both), "a.gif", code=2)
    assert not (tmp_path / "a.csv").exists()


def test_a_note_where_no_font_has_chinese_characters(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(style, "_chinese_font", lambda: None)
    out = tmp_path / "a.svg"
    result = invoke("plot", whole.folder, "std", "-o", out, MLX_PROBE_LANG="zh")
    assert "Noto Sans CJK SC" in result.stderr
    assert "Noto" not in invoke("plot", whole.folder, "std", "-o", out).output


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        (["plot", "RUN"], "stable", ["stable_rank"]),
        (["plot", "RUN", "--view"], "m", ["map"]),
        (
            ["plot", "RUN", "--tensor"],
            "model.layers.11.self_attn.k",
            ["model.layers.11.self_attn.k_proj.weight"],
        ),
    ],
)
def test_completion(whole, words, incomplete, expected):
    from click.shell_completion import BashComplete

    from mlx_probe.cli import cli

    words = [str(whole.folder) if word == "RUN" else word for word in words]
    found = BashComplete(cli, {}, "mlx-probe", "C").get_completions(words, incomplete)
    assert [item.value for item in found] == expected
