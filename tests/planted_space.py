"""A disk with what may go and what something still needs, each under a name that says which."""

import hashlib
import json
import os
from pathlib import Path

from experiment_runs import analysis, training
from stores_on_disk import config_file, folder_model, hub_model, safetensors_file

from mlx_probe.library.catalog import scan
from mlx_probe.library.experiments import scan_experiments


def commit(word):
    return hashlib.sha1(word.encode()).hexdigest()


def revision(home, name, word, size=5000, shared=()):
    """A snapshot that is no reference's, with contents of its own and some that others have too."""
    files = {"model.safetensors": word.encode() * (size // len(word))}
    files |= {f"{each}.bin": each.encode() * 3000 for each in shared}
    main = home / "hub" / f"models--{name.replace('/', '--')}" / "refs" / "main"
    before = main.read_text() if main.exists() else None
    snapshot = hub_model(home / "hub", name, files, commit(word))
    main.unlink() if before is None else main.write_text(before)
    return snapshot


def point(snapshot, reference="main"):
    path = snapshot.parent.parent / "refs" / reference
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(snapshot.name)
    return snapshot


def stepped(folder, steps=(1, 2), **settings):
    """A training that kept snapshots, one of them measured, and checkpoints."""
    training(folder, **settings)
    safetensors_file(folder / "model" / "model.safetensors")
    for step in steps:
        safetensors_file(folder / "snapshots" / f"step-{step}" / "model.safetensors", step)
        safetensors_file(folder / "checkpoints" / f"step-{step}" / "optimizer.safetensors", step)
    analysis(folder / "snapshots" / f"step-{steps[0]}" / "analysis")
    return folder


def blobs(snapshot):
    return {Path(os.path.realpath(path)) for path in snapshot.iterdir()}


def planted(database, home, tmp_path):
    """Returns what may go and what must stay, as sets of paths; everything is scanned."""
    free, needed = set(), set()
    runs, models = tmp_path / "runs", tmp_path / "models"
    # References, also in folders, and revisions that share contents with them.
    kept = [point(revision(home, "owner/pointed", "main-revision", shared=["both"]))]
    kept.append(point(revision(home, "owner/pointed", "pull-request"), "refs/pr/1"))
    old = revision(home, "owner/pointed", "old-revision", shared=["both"])
    free |= {old, *(blobs(old) - blobs(kept[0]))}
    needed |= blobs(kept[0]) | blobs(kept[1])
    # Contents that no revision has.
    orphan = old.parent.parent / "blobs" / commit("orphan")
    orphan.write_bytes(b"orphan" * 1000)
    free.add(orphan)
    # Runs: by revision, by path, by a name alone, also in the bin of damaged and missing ones.
    kept.append(revision(home, "owner/by-revision", "by-revision"))
    analysis(runs / "by-revision", {"id": "owner/by-revision", "revision": commit("by-revision")})
    kept.append(revision(home, "owner/by-path", "by-path"))
    analysis(runs / "by-path", {"id": "x", "revision": "local", "path": str(kept[-1])})
    kept.append(revision(home, "owner/by-name", "by-name"))
    training(runs / "by-name", init="owner/by-name")
    kept.append(revision(home, "owner/damaged", "damaged"))
    (runs / "broken").mkdir(parents=True)
    (runs / "broken" / "run_meta.json").write_text(
        '{"kind": "analyze", "model": {"id": "owner/damaged'
    )
    free_too = revision(home, "owner/unused", "unused")
    free |= {free_too, *blobs(free_too)}
    # Links from elsewhere: to a file, to a folder, to contents, hard and symbolic.
    for number, word in enumerate(("file-link", "folder-link", "content-link", "hard-link")):
        snapshot = revision(home, f"owner/{word}", word)
        kept.append(snapshot)
        place = models / word
        place.mkdir(parents=True)
        file = snapshot / "model.safetensors"
        (content,) = blobs(snapshot)
        if number == 3:
            (place / "model.safetensors").hardlink_to(content)
        else:
            target = (file, snapshot, content)[number]
            (place / "model").symlink_to(target)
    # Models: an adapter's base, a note.
    point(revision(home, "owner/base", "newer-base"))
    kept.append(revision(home, "owner/base", "base"))
    adapter = folder_model(models / "adapter")
    (adapter / "README.md").write_text("---\nbase_model: owner/unpointed\n---\n")
    kept.append(revision(home, "owner/unpointed", "unpointed"))
    lora = models / "lora"
    config_file(
        lora / "adapter_config.json",
        peft_type="LORA",
        r=2,
        lora_alpha=2,
        base_model_name_or_path="owner/base",
        target_modules=["q_proj"],
    )
    _lora_weights(lora)
    # Trainings.
    done = stepped(runs / "done")
    measured = done / "snapshots" / "step-1"
    free |= {measured / "model.safetensors", done / "snapshots" / "step-2"}
    free |= {done / "checkpoints" / f"step-{step}" for step in (1, 2)}
    needed |= {measured / "analysis", done / "model"}
    source = stepped(runs / "source")
    training(runs / "next", init=str(source / "snapshots" / "step-2"))
    needed.add(source / "snapshots" / "step-2")
    free |= {source / "snapshots" / "step-1" / "model.safetensors"}
    free |= {source / "checkpoints" / f"step-{step}" for step in (1, 2)}
    needed.add(stepped(runs / "half", planned_steps=9) / "checkpoints" / "step-2")
    empty = stepped(runs / "without-model", model=False)
    (empty / "model" / "model.safetensors").unlink()
    needed.add(empty / "snapshots" / "step-2")
    linked = stepped(runs / "linked")
    (tmp_path / "runs" / "best").symlink_to(linked / "snapshots" / "step-2")
    needed.add(linked / "snapshots" / "step-2")
    free |= {linked / "snapshots" / "step-1" / "model.safetensors"}
    free |= {linked / "checkpoints" / f"step-{step}" for step in (1, 2)}
    # Partial downloads, and caches.
    for folder in (home / "hub" / "models--owner--unused" / "blobs", models / "got" / ".mlx-probe"):
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{commit('partial')}.incomplete"
        partial.write_bytes(b"p" * 9000)
        free.add(partial)
    cache = home / "cache"
    for name in ("imported/abc", "kernel-compiler/abc", "pypi/unused/1.0", "packages/corpus/1.0"):
        (cache / name).mkdir(parents=True)
        (cache / name / "file").write_bytes(b"c" * 4000)
        free.add(cache / name)
    for name in ("imported/used", "pypi/wanted/1.0", "calibration", "jobs", "downloads"):
        (cache / name).mkdir(parents=True)
        (cache / name / "file").write_bytes(b"c" * 4000)
        needed.add(cache / name)
    analysis(runs / "imported", {"id": "x", "path": str(cache / "imported" / "used" / "tiny")})
    analysis(runs / "packaged", {"id": "pypi:wanted", "revision": "1.0"})
    scan(database, [models])
    scan_experiments(database, [runs])
    needed |= set(kept)
    for snapshot in kept[2:]:
        needed |= blobs(snapshot)
    return free, needed


def _lora_weights(folder):
    import numpy as np
    from weightfiles import write_safetensors

    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    write_safetensors(
        folder / "adapter_model.safetensors",
        {
            name.format("A"): np.zeros((2, 4), np.float32),
            name.format("B"): np.zeros((4, 2), np.float32),
        },
    )


def taken(root):
    """Bytes of the disk below a folder, by the system's own count of each inode."""
    seen = {}
    for current, folders, files in os.walk(root):
        for name in (".", *folders, *files):
            status = Path(current, name).lstat()
            seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def contents(root, without=()):
    """What is below a folder: links by their targets, files by their bytes."""
    found = {}
    for current, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(current, name)
            if path.name in without:
                continue
            if path.is_symlink():
                found[str(path)] = str(path.readlink())
            elif path.is_file():
                found[str(path)] = path.read_bytes()
    return found


def described(free, items):
    """What is proposed and should not be, and the other way round, as text for a failure."""
    proposed = {path for item in items for path in item.paths}
    return json.dumps(
        {
            "needed": sorted(map(str, proposed - free)),
            "left out": sorted(map(str, free - proposed)),
        },
        indent=1,
    )
