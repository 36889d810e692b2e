"""No finding in sound documents: this project's own, and those of the packages installed here.

A package's description has no folder beside it: its relative links lead nowhere on the page of the
index, and are faults. Which files are sound was decided by looking at each.
"""

from importlib.metadata import distribution
from pathlib import Path

import pytest
from project import ROOT

from mlx_probe.library.documents.check import check_documents, find_documents
from mlx_probe.library.documents.rules import RULES

OWN = tuple(ROOT / name for name in ("docs", "README.md", "CHANGELOG.md", "examples"))
# Packages of the development environment whose descriptions are sound.
DESCRIPTIONS = (
    *("annotated-doc", "annotated-types", "attrs", "axe-core-python", "cffi", "cloudpickle"),
    *("comm", "contourpy", "executing", "filelock", "fsspec", "httpx2", "huggingface-hub"),
    *("jinja2", "markdown", "markdown-it-py", "markupsafe", "matplotlib", "matplotlib-inline"),
    *("mcp", "mcp-types", "mdurl", "mlx", "mypy-extensions", "numpy", "pillow", "platformdirs"),
    *("pydantic", "requests", "ruff", "starlette", "truststore", "types-psutil", "types-PyYAML"),
    *("typing-extensions", "typing-inspection", "urllib3", "ziglang"),
)
# Documents that packages bring, by package.
FILES = (
    ("huggingface-hub", "huggingface_hub/templates/datasetcard_template.md"),
    ("huggingface-hub", "huggingface_hub/templates/modelcard_template.md"),
    ("mlx-lm", "mlx_lm/MANAGE.md"),
    ("mlx-lm", "mlx_lm/SERVER.md"),
    ("mypy", "mypy/typeshed/stdlib/_typeshed/README.md"),
    ("numpy", "numpy/random/LICENSE.md"),
    ("scipy", "scipy/fft/_pocketfft/LICENSE.md"),
    ("typer", "typer/.agents/skills/typer/SKILL.md"),
    ("httpx2", "licenses/LICENSE.md"),
    ("idna", "licenses/LICENSE.md"),
    ("markdown", "licenses/LICENSE.md"),
    ("python-dateutil", "licenses/AUTHORS.md"),
    ("pyzmq", "licenses/LICENSE.md"),
    ("starlette", "licenses/LICENSE.md"),
)
# Left out, because they have these faults, and no others.
FAULTY = {
    # Relative links of a description: to LICENSE, CONTRIBUTING.md, other pages of a repository; of
    # hf-xet an address in quotation marks, which are part of it.
    "dead-link": (
        *("absl-py", "duckdb", "hf-xet", "httpcore2", "idna", "pandas", "pandas-stubs"),
        *("python-multipart", "pydantic-core", "sentencepiece", "sse-starlette", "sympy"),
        *("tokenizers", "transformers", "typer"),
    ),
    # Fences without a language.
    "unlabelled-fence": (
        *("charset-normalizer", "click", "hypothesis", "ipykernel", "jupyter-client", "mlx-lm"),
        *("msgpack", "narwhals", "nbclient", "plotly", "prometheus-client", "pure-eval"),
        *("pyzmq", "rich", "stack-data", "threadpoolctl", "traitlets", "uvicorn", "werkzeug"),
    ),
    "dead-link unlabelled-fence": ("torch",),
    # Text without a heading above all others.
    "no-title": ("debugpy", "pyarrow", "ipython-pygments-lexers"),
    "no-title unlabelled-fence": ("safetensors",),
    # A chapter called TODO, with what is still to be done.
    "no-title todo": ("gguf",),
    # A badge with an empty target, and a link to LICENSE.
    "dead-link empty-link": ("nest-asyncio2",),
}


@pytest.fixture
def described(tmp_path):
    def write(name):
        meta = distribution(name).metadata
        assert meta["Description-Content-Type"].startswith("text/markdown")
        path = tmp_path / f"{name.lower().replace('-', '_')}.md"
        text = meta.get_payload() or meta["Description"]
        path.write_text(text, "utf-8", errors="surrogateescape")
        return path

    return write


def brought(package, name):
    """A file that a package brings, by the end of its path."""
    path = next(file for file in distribution(package).files if str(file).endswith(name))
    return Path(distribution(package).locate_file(path))


def test_this_projects_own_documents_are_sound():
    assert sum(1 for path in OWN for _ in find_documents(path)) > 90
    found = check_documents(OWN)
    assert not found, "\n".join(f"{f.file}:{f.line}: {f.rule} {f.message}" for f in found)
    # Rules for projects hold here too, but for dates.
    strict = [name for name in RULES if name not in ("no-date", "heading-jump")]
    assert not check_documents(OWN, only=strict)


def test_sound_documents_of_other_projects_have_no_finding(described):
    paths = [described(name) for name in DESCRIPTIONS] + [brought(*file) for file in FILES]
    assert len(paths) >= 50
    found = check_documents(paths)
    assert not found, "\n".join(f"{f.file}:{f.line}: {f.rule} {f.message}" for f in found)


def test_the_others_have_the_faults_that_they_were_left_out_for(described):
    wrong = {}
    for faults, names in FAULTY.items():
        for name in names:
            found = {each.rule for each in check_documents([described(name)])}
            if found != set(faults.split()):
                wrong[name] = found
    assert not wrong
