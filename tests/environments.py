"""Environments of tiny wheels: made in a second, without an index."""

import json

import pytest
from models import invoke
from wheels import write_wheel

ALPHA, BETA = "tiny_alpha", "tiny_beta"
CODE = {name: f"NAME = {name!r}\n".encode() for name in (ALPHA, BETA)}


def write_wheels(folder):
    """Two versions of one package, and another one that needs it."""
    folder.mkdir(parents=True, exist_ok=True)
    for version in ("1.0", "2.0"):
        files = {f"{ALPHA}/__init__.py": CODE[ALPHA] + f"__version__ = '{version}'\n".encode()}
        write_wheel(folder, files, version, ALPHA, lines=("License-Expression: MIT",))
    lines = ("Requires-Dist: tiny-alpha>=1", "Summary: Needs | alpha")
    write_wheel(folder, {f"{BETA}/__init__.py": CODE[BETA]}, "1.0", BETA, lines=lines)
    return folder


def write_template(path, **changes):
    """A template of the tiny wheels."""
    entries = {
        "name": "tiny",
        "description": "Tiny wheels",
        "python": ">=3.10",
        "requirements": ["tiny-beta", "nothing; sys_platform == 'win32'"],
        "check": ["import tiny_alpha", "import tiny_beta"],
    } | changes
    # JSON is YAML.
    path.write_text(json.dumps(entries), "utf-8")
    return path


class Workplace:
    """A folder of environments, with wheels and a template.

    Args:
        root: An empty folder.
    """

    def __init__(self, root):
        self.root, self.folder = root, root / "envs"
        self.wheels = write_wheels(root / "wheels")
        self.template = write_template(root / "tiny.yaml")

    def env(self, command, *words, **environment):
        """Run `mlx-probe env COMMAND ...` on this folder of environments."""
        return invoke("env", command, *words, "--folder", self.folder, **environment)

    def create(self, name, *words, template=None, **environment):
        """Run `env create` with the tiny wheels."""
        words = words if "--lock" in words else (*words, "--template", template or self.template)
        sources = ("--wheels", self.wheels, "--offline", "--maker", "venv")
        return self.env("create", name, *sources, *words, **environment)

    def made(self, name, *words, **settings):
        """The document of an environment that was made."""
        result = self.create(name, *words, "--json", **settings)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """One with an environment, "first", that tests leave as it is."""
    place = Workplace(tmp_path_factory.mktemp("environments"))
    place.made("first")
    return place
