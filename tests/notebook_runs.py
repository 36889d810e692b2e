"""Run a notebook, and keep of its outputs what is the same on every machine.

``python tests/notebook_runs.py`` runs all of them on a run of SmolLM2 and stores their outputs in
them; a test runs them again and compares.
"""

import base64
import io
import os
import re
import subprocess
import sys
import tempfile
from itertools import zip_longest
from pathlib import Path
from unittest import mock

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image
from project import ROOT, SMOLLM2
from tinymodel import COMMAND

FOLDER = ROOT / "notebooks"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.ipynb")))
# Cells whose outputs are about this machine: they are run, and nothing of them is stored.
VARIES = "varies"
# What the stored outputs may take, in bytes.
LARGEST_IMAGE, LARGEST_NOTEBOOK = 60_000, 300_000
# Forms of an output that are stored, if it has them.
_STORED = ("text/plain", "text/html", "image/png")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
# Share of the range of grey by which two images may differ on average: fonts and edges of lines
# differ between versions of matplotlib.
_SAME_IMAGE = 0.03


def stored(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def executed(name, run):
    """The notebook with the outputs of a run from top to end."""
    notebook = stored(name)
    environment = {"MLX_PROBE_RUN": str(run), "MLX_PROBE_LANG": "en"}
    with mock.patch.dict(os.environ, environment):
        NotebookClient(
            notebook,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": str(FOLDER)}},
        ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            varies = VARIES in cell.metadata.get("tags", ())
            cell.execution_count = None
            cell.outputs = [] if varies else _kept(cell.outputs)
            cell.metadata.pop("execution", None)
    notebook.metadata.pop("language_info", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def _kept(outputs):
    """Outputs without what differs from run to run; texts that follow each other are one."""
    kept = []
    for output in outputs:
        if output.output_type == "stream":
            if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                kept[-1].text += output.text
            else:
                kept.append(nbformat.v4.new_output("stream", name=output.name, text=output.text))
        else:
            data = {form: output.data[form] for form in _STORED if form in output.data}
            kept.append(nbformat.v4.new_output("display_data", data=data))
    return kept


def difference(old, new):
    """What two executions of a notebook do not have in common, in words; "" if nothing."""
    for one, other in zip_longest(old.cells, new.cells):
        if one is None or other is None or one.source != other.source:
            return "the cells are others"
        for before, after in zip_longest(one.get("outputs", ()), other.get("outputs", ())):
            told = _output_difference(before, after)
            if told:
                return f"cell {one.id}: {told}"
    return ""


def _output_difference(before, after):
    if before is None or after is None:
        return "an output more or less"
    before, after = _forms(before), _forms(after)
    if before.keys() != after.keys():
        return f"{sorted(before)} became {sorted(after)}"
    for form, value in before.items():
        if form == "image/png":
            apart = image_distance(value, after[form])
            if apart > _SAME_IMAGE:
                return f"the image differs by {apart:.3f}"
        elif not same_text(value, after[form]):
            return f"{value!r} became {after[form]!r}"
    return ""


def _forms(output):
    return {"text": output.text} if output.output_type == "stream" else dict(output.data)


def same_text(one, other):
    """Whether texts are equal but for the last digit of numbers that are not whole."""
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(_same_number(a, b) for a, b in pairs)


def _same_number(one, other):
    if one == other:
        return True
    digits = max((len(text.partition(".")[2]) for text in (one, other)), default=0)
    whole = digits == 0 or "e" in one + other
    return not whole and abs(float(one) - float(other)) <= 1.5 * 10**-digits


def image_distance(one, other):
    """The mean difference of two PNGs in grey and small, as a share of the range."""
    first, second = (_grey(png) for png in (one, other))
    return float(np.abs(first - second).mean()) / 255


def _grey(png):
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("L")
    return np.asarray(image.resize((96, 48)), dtype=float)


def renew(run):
    for name in NAMES:
        notebook = executed(name, run)
        nbformat.write(notebook, FOLDER / f"{name}.ipynb")
        print(name, (FOLDER / f"{name}.ipynb").stat().st_size)


def main():
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "smollm2")
        subprocess.run([COMMAND, "analyze", SMOLLM2, "--out", run, "--quiet"], check=True)
        renew(sys.argv[1] if len(sys.argv) > 1 else run)


if __name__ == "__main__":
    main()
