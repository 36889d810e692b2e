"""Collects what is needed: by runs, jobs, links, models of the catalog and open files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.core.paths import cache_dir
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.folders import remembered_folders
from mlx_probe.library.catalog.link_journal import load_links
from mlx_probe.library.catalog.models import load_models
from mlx_probe.library.catalog.open_files import open_paths
from mlx_probe.library.catalog.records import Model
from mlx_probe.library.catalog.runs import known_metas
from mlx_probe.library.experiments.lineage import path_of_input
from mlx_probe.library.experiments.moving import BIN
from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.library.experiments.scanning import remembered_run_folders
from mlx_probe.library.experiments.storing import load_runs
from mlx_probe.library.space.needs import Needs, chain, repository_of
from mlx_probe.runs.experiments.find import marker_of
from mlx_probe.runs.experiments.records import Experiment
from mlx_probe.runs.folder import DEFAULT_ROOT
from mlx_probe.runs.monitor.jobs import running_jobs
from mlx_probe.source.hub.status import hub_cache
from mlx_probe.source.stores import STORES

__all__ = ["HUB_PARTS", "gather_needs", "hub_folder"]

HUB_PARTS = ("blobs", "snapshots", "refs")

_COMMIT = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
_WHOLE_COMMIT = re.compile(r"[0-9a-f]{40}")
_PACKAGE = re.compile(r"pypi:(?P<name>[\w.-]+)(?:==|@)?(?P<version>[\w.+!-]*)(?::.*)?")
# Bytes of a damaged marker that are searched: real metadata has a few hundred kilobytes.
_MOST = 64 << 20
# Parts of a training run whose measurements are about themselves.
_PARTS = ("snapshots", "checkpoints")


def hub_folder() -> Path:
    """The Hub's cache, without links."""
    return Path(os.path.realpath(hub_cache()))


def gather_needs(database: Database) -> Needs:
    """What has to stay, as far as this machine says it.

    Runs that are gone or in the bin count too: their disk may be off, and they may come back.

    Args:
        database: The catalog; its runs are as the disk has them, see `scan_experiments`.
    """
    needs, hub = Needs(), f"{hub_folder()}/"
    needs.runs = load_runs(database, binned=None)
    for run in needs.runs:
        _add_run(needs, run)
    _add_measured(needs, database, {run.marker for run in needs.runs})
    _add_jobs(needs)
    for link in load_links(database):
        if link.state != "undone":
            needs.add_whole(link.keeper, f"{link.path} is a link to it")
            needs.add_point(link.path, "a link of `catalog dedupe`, which `catalog undo` needs")
    for model in load_models(database):
        _add_model(needs, hub, model)
    for folder in remembered_folders(database):
        needs.add_point(os.path.realpath(folder), "a folder that `catalog scan` looks through")
    for folder in _searched(database):
        _add_links(needs, hub, folder)
    for path in open_paths():
        needs.add_point(path, "a program has it open")
    return needs


def _add_run(needs: Needs, run: StoredRun) -> None:
    who = f"the run {run.name} ({run.id[:8]})"
    paths = [(given, path_of_input(run, given)) for given in run.inputs]
    for given, path in paths:
        _add_input(needs, given, path, who)
    for output in run.outputs:
        needs.add_whole(output, f"{who} wrote it")
    facts = f"{run.config_json} {run.facts_json}"
    for commit in _COMMIT.findall(facts):
        needs.commits.setdefault(commit, who)
    if run.state == "damaged":
        _add_text(needs, run.marker, who, is_gone=run.missing)


def _add_input(needs: Needs, given: Mapping[str, str], path: str, who: str) -> None:
    name, revision = given.get("name", ""), given.get("revision", "")
    literal = given.get("path", "")
    if path:
        needs.add_whole(path, f"{who} came from it")
    if literal and "\0" not in literal and os.path.isabs(literal):  # noqa: PTH117  text
        needs.add_whole(literal, f"{who} came from it")
    if package := _PACKAGE.fullmatch(name):
        version = revision or package["version"]
        key = re.sub(r"[-_.]+", "-", package["name"]).lower()
        needs.packages.setdefault(f"{key}/{version}" if version else key, who)
        return
    repository = repository_of(name)
    if repository is None:
        return
    revision = revision or repository[1]
    if not _WHOLE_COMMIT.fullmatch(revision) and not _COMMIT.search(literal):
        # Which revision it read is not known.
        needs.repositories.setdefault(repository[0], who)


def _add_text(needs: Needs, marker: Path, who: str, is_gone: bool = False) -> None:
    """Take what a damaged run spells for its inputs."""
    try:
        if not marker.is_file() or marker.stat().st_size > _MOST:
            raise OSError(0, "it is no file of a run")
        text = marker.read_text("utf-8", "replace")
    except OSError as error:
        if not is_gone:
            needs.unknown.append((marker, error.strerror or str(error)))
        return
    needs.texts.append((who, text))
    for commit in _COMMIT.findall(text):
        needs.commits.setdefault(commit, who)


def _add_measured(needs: Needs, database: Database, known: set[Path]) -> None:
    """Runs that `catalog scan` knows and `runs scan` does not, and those that jobs work on."""
    for marker in known_metas(database):
        if marker not in known:
            _add_marker(needs, marker)


def _add_marker(needs: Needs, marker: Path) -> None:
    # The reader imports all kinds of runs.
    from mlx_probe.runs.experiments.read import read_experiment

    who = f"the run in {marker.parent}"
    try:
        experiment = read_experiment(marker)
    except ResultError:
        _add_text(needs, marker, who)
        return
    part = _training_part(experiment)
    for given in experiment.inputs:
        described = {"name": given.name, "revision": given.revision, "path": given.path}
        written = Path(experiment.working_folder, given.path or given.name)
        path = os.path.realpath(written) if written.is_absolute() and written.exists() else ""
        if part is not None and path and part in (Path(path), *Path(path).parents):
            continue  # the measurement of a snapshot stays when its weights go
        _add_input(needs, described, path, who)
        for commit in _COMMIT.findall(f"{given.revision} {given.path}"):
            needs.commits.setdefault(commit, who)


def _training_part(experiment: Experiment) -> Path | None:
    """The snapshot that a measurement lies in."""
    for folder in experiment.folder.parents:
        if folder.parent.name in _PARTS and folder.name.startswith("step-"):
            return folder
    return None


def _add_jobs(needs: Needs) -> None:
    for job in running_jobs():
        who = f"{job.kind} runs now (process {job.pid})"
        needs.texts.append((who, f"{job.title}\n{job.folder}"))
        if not job.folder:
            continue
        needs.add_whole(job.folder, who)
        marker = marker_of(Path(job.folder))
        if marker is not None:
            _add_marker(needs, marker)


def _add_model(needs: Needs, hub: str, model: Model) -> None:
    who = f"the model {model.id} ({model.key[:8]})"
    if model.note or model.tags:
        for path in (model.path, model.location):
            for each in chain(path):
                needs.add_point(each, f"{who} has your note or tag")
    for file in model.files:
        _add_link(needs, hub, file.path, f"{who} has a link to it")
    for base in model.base_models:
        if base.startswith(("/", "~", "./", "../")):
            written = Path(os.path.realpath(model.path), os.path.expanduser(base))  # noqa: PTH111
            needs.add_whole(written, f"{who} is based on it")
        elif package := _PACKAGE.fullmatch(base):
            needs.packages.setdefault(re.sub(r"[-_.]+", "-", package["name"]).lower(), who)
        elif repository := repository_of(base):
            # An adapter fits one revision only, which it does not name.
            of = needs.repositories if model.adapter else needs.named
            of.setdefault(repository[0], f"{who} is based on it")


def _searched(database: Database) -> Iterator[Path]:
    """Folders whose links are followed; each once, and none in another."""
    folders = [*remembered_folders(database), *remembered_run_folders(database), DEFAULT_ROOT]
    folders += [folder for store in STORES.values() for folder in store.folders()]
    folders += [hub_folder(), cache_dir()]
    real = sorted({Path(os.path.realpath(folder)) for folder in folders})
    last: Path | None = None
    for folder in real:
        if last is not None and last in folder.parents:
            continue
        last = folder
        yield folder


def _add_links(needs: Needs, hub: str, root: Path) -> None:
    """Add what the links below a folder lead to, and note unfinished downloads."""

    def trouble(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            path = Path(os.fsdecode(error.filename or root))
            needs.troubles.append((path, error.strerror or str(error)))

    for current, below, files in os.walk(root, onerror=trouble):
        below[:] = [name for name in below if name != BIN]
        for name in (*below, *files):
            path = os.path.join(current, name)  # noqa: PTH118  for many paths
            if os.path.islink(path):  # noqa: PTH114
                _add_link(needs, hub, Path(path), f"{path} is a link to it")
            elif name.endswith(".incomplete"):
                needs.partial.add(Path(path))


def _add_link(needs: Needs, hub: str, path: Path, who: str) -> None:
    first, *others = chain(path)
    mine = _repository(hub, first)
    for each in others:
        # The links of a repository's own snapshots are part of it.
        if mine is None or _repository(hub, each) != mine:
            needs.add_whole(each, who)


def _repository(hub: str, path: str) -> str | None:
    """The repository's folder that a path in the Hub's cache lies in."""
    if not path.startswith(hub):
        return None
    name, _, rest = path[len(hub) :].partition("/")
    return name if rest.partition("/")[0] in HUB_PARTS else None
