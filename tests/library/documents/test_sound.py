"""No finding in sound documents: this project's own, and those of the packages installed here.

A package's description has no folder beside it: its relative links lead nowhere on the page of the
index, and are faults. Which files are sound was decided by looking at each.
"""

from importlib.metadata import PackageNotFoundError, distribution, version
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

# The versions whose documents were looked at: a later one may have other faults, or fewer.
# fmt: off
SEEN = {
    "absl-py": "2.5.1", "annotated-doc": "0.0.7", "annotated-types": "0.8.0", "attrs": "26.1.0",
    "axe-core-python": "0.1.0", "cffi": "2.1.1", "charset-normalizer": "3.5.3", "click": "8.5.1",
    "cloudpickle": "3.1.3", "comm": "0.2.3", "contourpy": "1.3.3", "debugpy": "1.8.22",
    "duckdb": "2.0.1", "executing": "2.3.0", "filelock": "4.3.1", "fsspec": "2026.9.0",
    "gguf": "0.19.0", "hf-xet": "1.8.0", "httpcore2": "2.16.2", "httpx2": "2.16.2",
    "huggingface-hub": "2.4.0", "hypothesis": "6.170.17", "idna": "3.20", "ipykernel": "7.4.0",
    "ipython-pygments-lexers": "1.1.1", "jinja2": "3.1.6", "jupyter-client": "8.10.0",
    "markdown": "3.11.3", "markdown-it-py": "4.3.0", "markupsafe": "3.0.4",
    "matplotlib": "3.11.2", "matplotlib-inline": "0.2.2", "mcp": "2.3.0", "mcp-types": "2.3.0",
    "mdurl": "0.1.2", "mlx": "0.32.4", "mlx-lm": "0.32.2", "msgpack": "1.2.4", "mypy": "2.4.1",
    "mypy-extensions": "1.2.0", "narwhals": "2.29.0", "nbclient": "0.11.0",
    "nest-asyncio2": "1.7.4", "numpy": "2.4.6", "pandas": "3.1.1", "pandas-stubs": "3.1.0.261029",
    "pillow": "13.0.0", "platformdirs": "4.14.9", "plotly": "7.1.0",
    "prometheus-client": "0.26.0", "pure-eval": "0.2.4", "pyarrow": "26.0.1",
    "pydantic": "2.14.4", "pydantic-core": "2.50.5", "python-dateutil": "4.0.0",
    "python-multipart": "0.0.34", "pyzmq": "27.3.0", "requests": "2.34.2", "rich": "15.0.0",
    "ruff": "0.17.6", "safetensors": "0.8.0", "scipy": "1.17.1", "sentencepiece": "0.2.3",
    "sse-starlette": "3.7.0", "stack-data": "0.6.3", "starlette": "1.10.0", "sympy": "1.14.0",
    "threadpoolctl": "3.8.0", "tokenizers": "0.23.3", "torch": "2.13.0+cpu",
    "traitlets": "5.16.1", "transformers": "5.24.0", "truststore": "0.10.5", "typer": "0.29.2",
    "types-psutil": "7.2.2.20261111", "types-PyYAML": "6.0.12.20261122",
    "typing-extensions": "4.16.0", "typing-inspection": "0.4.5", "urllib3": "2.8.0",
    "uvicorn": "0.54.0", "werkzeug": "3.1.9", "ziglang": "0.17.1",
}
# fmt: on


def as_seen(name):
    """Whether the version is installed whose documents were looked at."""
    try:
        return version(name) == SEEN[name]
    except PackageNotFoundError:
        return False


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
    assert len(DESCRIPTIONS) + len(FILES) >= 50
    paths = [described(name) for name in DESCRIPTIONS if as_seen(name)]
    paths += [brought(*file) for file in FILES if as_seen(file[0])]
    # Packages are updated one by one; when half of them are, look at them again.
    assert len(paths) >= 25
    found = check_documents(paths)
    assert not found, "\n".join(f"{f.file}:{f.line}: {f.rule} {f.message}" for f in found)


def test_the_others_have_the_faults_that_they_were_left_out_for(described):
    wrong = {}
    for faults, names in FAULTY.items():
        for name in filter(as_seen, names):
            found = {each.rule for each in check_documents([described(name)])}
            if found != set(faults.split()):
                wrong[name] = found
    assert not wrong
