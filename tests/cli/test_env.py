"""`mlx-probe env`: made, exported, made again, checked, listed, described; and what goes wrong."""

import json
import os
import sys
from pathlib import Path

import pytest
from environments import ALPHA, CODE, Workplace, write_template
from models import refuses
from project import ROOT
from wheels import write_wheel

from mlx_probe.library.environments import TEMPLATES, read_template

SITE = f"lib/python3.{sys.version_info.minor}/site-packages"


@pytest.fixture
def empty(tmp_path):
    return Workplace(tmp_path)


def statuses(result):
    document = json.loads(result.stdout)
    return {outcome["check"]: outcome["status"] for outcome in document["outcomes"]}


def test_made_again_from_its_lock_it_is_the_same(workplace, tmp_path):
    lock = tmp_path / "first.lock.txt"
    result = workplace.env("export", "first", "--out", lock, "--json")
    exported = json.loads(result.stdout)
    assert exported["packages"] == {"tiny-alpha": "2.0", "tiny-beta": "1.0"}
    assert exported["hashed"] == 2
    again = workplace.made("again", "--lock", lock)
    assert again["packages"] == exported["packages"]
    other = tmp_path / "again.lock.txt"
    workplace.env("export", "again", "--out", other)
    facts = ("# made:", "# maker:")
    lines = [
        [line for line in path.read_text("utf-8").splitlines() if not line.startswith(facts)]
        for path in (lock, other)
    ]
    assert lines[0] == lines[1]
    checked = workplace.env("check", "again", "--lock", lock, "--json")
    assert checked.exit_code == 0, checked.output
    assert set(statuses(checked).values()) == {"ok"}
    # They share no file.
    files = [
        {
            (s.st_dev, s.st_ino)
            for p in (workplace.folder / name / SITE).rglob("*")
            for s in [p.stat()]
        }
        for name in ("first", "again")
    ]
    assert files[0]
    assert not files[0] & files[1]


def test_a_broken_one_is_recognized(empty, tmp_path):
    empty.made("work")
    lock = tmp_path / "lock.txt"
    assert empty.env("export", "work", "--out", lock).exit_code == 0
    site = empty.folder / "work" / SITE
    module = site / ALPHA / "__init__.py"
    module.write_bytes(module.read_bytes().replace(b"2.0", b"2.1"))
    (site / "tiny_beta" / "__init__.py").unlink()
    metadata = site / "tiny_alpha-2.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 2.0", "Version: 0.5"))
    config = empty.folder / "work" / "pyvenv.cfg"
    config.write_text(config.read_text().replace("packages = false", "packages = true"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (site / "more.pth").write_text(f"{elsewhere}\n")
    out = tmp_path / "check.md"
    result = empty.env("check", "work", "--lock", lock, "--out", out, PIP_TARGET=str(elsewhere))
    refuses(result, "checks found it broken")
    shown = result.stdout
    assert "tiny_alpha/__init__.py was changed" in shown
    assert "tiny-beta: tiny_beta/__init__.py is missing" in shown
    assert "tiny-alpha is 0.5 instead of 2.0" in shown
    assert "it sees the packages of the system's Python" in shown
    assert f"more.pth brings {elsewhere} onto its path" in shown
    assert "puts packages elsewhere" in shown
    assert "tiny-beta 1.0 has requirement tiny-alpha>=1, but you have tiny-alpha 0.5" in shown
    text = out.read_text("utf-8")
    assert "## Problems and remedies" in text
    assert "is 0.5 instead of 2.0" in text
    assert json.loads(empty.env("list", "--json").stdout)[0]["status"] == "error"


def test_without_its_python(empty):
    # Without packages this takes no installer.
    bare = write_template(empty.root / "bare.yaml", requirements=[], check=["torch"])
    empty.made("bare", template=bare)
    python = empty.folder / "bare" / "bin" / "python"
    for link in python.parent.glob("python*"):
        link.unlink()
    python.symlink_to(empty.root / "gone" / "python3")
    result = empty.env("check", "bare", "--json")
    refuses(result, "found it broken")
    assert statuses(result)["Python"] == "error"
    assert statuses(result)["torch"] == "skipped"
    assert str(empty.root / "gone" / "python3") in result.stdout
    assert json.loads(empty.env("list", "--json").stdout)[0]["state"] == "no-python"
    python.unlink()
    result = empty.env("check", "bare")
    assert "bin/python is not there" in result.stdout


def test_nothing_leaks_from_the_shell(empty, tmp_path):
    """Neither into what is installed nor into where it goes."""
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / f"{ALPHA}.py").write_text("raise RuntimeError('of elsewhere')\n")
    leaks = {"PYTHONPATH": str(evil), "PIP_TARGET": str(tmp_path / "target"), "PIP_USER": "1"}
    leaks |= {"PYTHONUSERBASE": str(tmp_path / "user"), "PIP_PREFIX": str(tmp_path / "prefix")}
    empty.made("work", **leaks)
    assert (empty.folder / "work" / SITE / ALPHA).is_dir()
    assert not any((tmp_path / name).exists() for name in ("target", "user", "prefix"))
    result = empty.env("check", "work", "--json", PYTHONPATH=str(evil))
    assert result.exit_code == 0, result.output
    seen = statuses(result)
    assert seen["isolation"] == "warning"
    assert seen["import tiny_alpha"] == "ok"


def test_what_fails_leaves_its_log_alone(empty):
    bad = write_template(empty.root / "bad.yaml", requirements=["tiny-beta", "tiny-alpha==3"])
    message = refuses(
        empty.create("work", template=bad),
        "cannot make work: no version of tiny-alpha==3 fits this Python and platform",
        "Correct its name and versions in the template",
    )
    assert "No matching distribution found for tiny-alpha==3" in message
    assert "work.log" in message
    assert not (empty.folder / "work").exists()
    assert empty.env("list", "--json").stdout.strip() == "[]"


def test_a_replaced_one_comes_back_if_its_successor_fails(empty, monkeypatch):
    bare = write_template(empty.root / "bare.yaml", requirements=[], check=[])
    made = empty.made("work", template=bare)
    refuses(empty.create("work", template=bare), "is there already", "--replace")
    bad = write_template(empty.root / "bad.yaml", requirements=["tiny-alpha==3"])
    refuses(empty.create("work", "--replace", template=bad), "cannot make work")
    [listed] = json.loads(empty.env("list", "--json").stdout)
    assert (listed["state"], listed["folder"]) == ("ready", made["folder"])
    assert empty.made("work", "--replace", template=bare)["name"] == "work"
    assert not (empty.folder / ".making" / "work.old").exists()


def test_a_folder_of_something_else_is_left_alone(empty):
    (empty.folder / "thesis").mkdir(parents=True)
    (empty.folder / "thesis" / "text").write_text("years of work")
    for options in ((), ("--replace",)):
        refuses(empty.create("thesis", *options), "is no environment of mlx-probe")
    assert (empty.folder / "thesis" / "text").read_text() == "years of work"


def test_another_file_than_the_locked_one_is_refused(workplace, empty, tmp_path):
    lock = tmp_path / "lock.txt"
    workplace.env("export", "first", "--out", lock)
    write_wheel(empty.wheels, {f"{ALPHA}/__init__.py": CODE[ALPHA] + b"# forged\n"}, "2.0", ALPHA)
    refuses(
        empty.create("work", "--lock", lock),
        "the file of tiny-alpha==2.0 is not the one that the lock file names",
    )
    assert not (empty.folder / "work").exists()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("# platform: ", "# platform: beos-", "the lock file is for cpython"),
        ("tiny-beta==1.0", "--index-url http://127.0.0.1/", "is not name==version with hashes"),
        ("tiny-beta==1.0", "tiny-beta @ file:///x", "is not name==version with hashes"),
        ("tiny-beta==1.0", "tiny-alpha==1.0", "has tiny-alpha twice"),
        ('"tiny-beta"', '"tiny-gamma"', "its template was changed"),
        ("# python: ", "# snake: ", "does not say its python"),
        ("# mlx-probe", "# another", "is no lock file of mlx-probe"),
    ],
)
def test_a_lock_of_another_place_or_damaged(workplace, tmp_path, before, after, says):
    lock = tmp_path / "lock.txt"
    workplace.env("export", "first", "--out", lock)
    text = lock.read_text("utf-8")
    assert before in text
    lock.write_text(text.replace(before, after), "utf-8")
    result = workplace.create("other", "--lock", lock)
    refuses(result, says, code=2 if "is for" in says else 1)
    assert not (workplace.folder / "other").exists()


def test_a_lock_of_another_template(workplace, tmp_path):
    lock = tmp_path / "lock.txt"
    workplace.env("export", "first", "--out", lock)
    result = workplace.create("other", "--lock", lock, "--template", "mlx")
    refuses(result, "was made from another template than mlx", code=2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--template", "mxl"], "Did you mean 'mlx'?"),
        (["--template", "{root}/no.yaml"], "cannot read"),
        ([], "neither a template nor a lock file"),
        (["--template", "mlx", "--python", "3.4"], "Python 3.4 does not fit"),
        (["--template", "mlx", "--python", "/no/python"], "/no/python: it is not there"),
        (["--lock", "{root}/no.txt"], "cannot read"),
    ],
)
def test_mistakes(empty, words, says):
    words = [word.format(root=empty.root) for word in words]
    result = empty.env("create", "work", *words, "--maker", "venv")
    refuses(result, says, code=1 if "--lock" in words else 2)


def test_names(empty):
    for name in ("../up", ".hidden", "a/b", "", "x" * 65):
        refuses(empty.create(name), "cannot be the name of an environment", code=2)
    refuses(empty.env("check", "none"), "has no environment none", "Make one")


def test_the_document_is_written_from_what_is_installed(workplace, tmp_path):
    text = workplace.env("document", "first").stdout
    assert "| tiny\\_alpha | 2.0 |" in text
    assert "| MIT |" in text
    assert "Needs \\| alpha" in text
    out = tmp_path / "about.md"
    assert workplace.env("document", "first", "--out", out, MLX_PROBE_LANG="zh").exit_code == 0
    chinese = out.read_text("utf-8")
    assert chinese.startswith("# 环境 first")
    assert "tiny\\_beta" in chinese
    assert workplace.env("check", "first", MLX_PROBE_LANG="zh").exit_code == 0
    assert "Checked at" in workplace.env("document", "first").stdout


def test_conda(empty, monkeypatch):
    """A program that records what it is asked for, and makes what conda would make."""
    tools, asked = empty.root / "tools", empty.root / "asked"
    tools.mkdir()
    conda = tools / "conda"
    conda.write_text(
        f'#!/bin/sh\necho "$@" >> "{asked}"\n'
        f'[ "$1" = create ] && exec "{sys.executable}" -m venv --without-pip "$5"\nexit 0\n'
    )
    conda.chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    sources = ("--wheels", empty.wheels, "--offline", "--template", empty.template)
    result = empty.env("create", "work", *sources, "--maker", "conda", "--json", PATH=path)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["maker"] == "conda"
    prefix = empty.folder / "work"
    assert asked.read_text().splitlines() == [
        f"create --yes --offline --prefix {prefix} python>=3.10",
        f"env config vars set --prefix {prefix} PYTHONNOUSERSITE=1",
    ]
    conda.write_text("#!/bin/sh\necho 'CondaHTTPError HTTP 000 CONNECTION FAILED'; exit 1\n")
    result = empty.env("create", "more", *sources, "--maker", "conda", PATH=path)
    refuses(result, "no connection to the package index")


UV = """#!{python}
import json, subprocess, sys
words = sys.argv[1:]
with open({asked!r}, "a") as file:
    print(json.dumps(words), file=file)
if words[0] == "venv":
    subprocess.run([{python!r}, "-m", "venv", "--without-pip", words[-1]], check=True)
elif words[1] == "compile":
    with open(words[-1], "w") as file:
        file.write({pins!r})
else:
    python, listed = words[words.index("--python") + 1], words[-1]
    options = ["--no-index", "--find-links", {wheels!r}, "--no-deps", "--require-hashes"]
    pip = [{python!r}, "-m", "pip", "--python", python, "install", *options, "-r", listed]
    subprocess.run(pip, check=True)
"""


def test_uv(workplace, empty, tmp_path):
    """A program that records what it is asked for: it resolves first, for the hashes."""
    lock = tmp_path / "first.lock.txt"
    workplace.env("export", "first", "--out", lock)
    pins = [line for line in lock.read_text("utf-8").splitlines() if not line.startswith("#")]
    tools, asked = empty.root / "tools", empty.root / "asked"
    tools.mkdir()
    uv = tools / "uv"
    settings = {"asked": str(asked), "pins": "\n".join(pins), "wheels": str(workplace.wheels)}
    uv.write_text(UV.format(python=sys.executable, **settings))
    uv.chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    # Nobody has to choose it.
    words = ("--wheels", empty.wheels, "--offline", "--template", empty.template, "--json")
    result = empty.env("create", "work", *words, PATH=path)
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    assert made["maker"] == "uv"
    assert made["packages"] == {"tiny-alpha": "2.0", "tiny-beta": "1.0"}
    calls = [json.loads(line) for line in asked.read_text().splitlines()]
    assert [call[:2] for call in calls] == [
        ["venv", "--no-project"],
        ["pip", "compile"],
        ["pip", "install"],
    ]
    assert all("--offline" in call or "--no-index" in call for call in calls)
    assert "--generate-hashes" in calls[1]
    assert {"--no-deps", "--require-hashes"} <= set(calls[2])
    again = tmp_path / "again.lock.txt"
    assert json.loads(empty.env("export", "work", "--out", again, "--json").stdout)["hashed"] == 2


def test_the_templates_of_the_checkout_are_those_of_the_package():
    names = {path.name for path in (ROOT / "configs" / "env").glob("*.yaml")}
    assert names == {path.name for path in TEMPLATES.glob("*.yaml")}
    for path in TEMPLATES.glob("*.yaml"):
        template = read_template(path.stem)
        assert template.name == path.stem
        assert "pip" in template.requirements
    help_text = invoke_help()
    assert all(Path(name).stem in help_text for name in names)


def invoke_help():
    from models import invoke

    return invoke("env", "create", "--help").stdout
