"""What is damaged is named, and only that is fetched again."""

import json
import os

import pytest
from hub_faults import Faults
from hub_models import NEEDED, REPO, SHARDS, hasty, make_files, tree
from hub_server import commit_of, digest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.library.download import DownloadConfig, download, repair, verify
from mlx_probe.source import parse_reference
from mlx_probe.source.manifest import MANIFEST, read_manifest

CONFIG = DownloadConfig(retry=hasty())


@pytest.fixture(params=["local", "cache"])
def folder(request, hub, files, tmp_path):
    """A downloaded model, in a folder of the user's or in the Hub's cache."""
    local = tmp_path / "here" if request.param == "local" else None
    done = download(parse_reference(REPO), DownloadConfig(local, retry=hasty()))
    hub.requests.clear()
    return done.folder


def problems(verification):
    return {finding.name: finding.problem for finding in verification.findings if finding.problem}


def damage(folder, files):
    """One file with a flipped byte, one short, one missing."""
    data = bytearray(files[SHARDS[0]])
    data[777] ^= 4
    (folder / SHARDS[0]).write_bytes(data)
    os.truncate(folder / SHARDS[1], 100)
    (folder / "config.json").unlink()


def test_a_sound_folder(hub, folder):
    verification = verify(str(folder))
    assert problems(verification) == {}
    assert verification.damaged == ()
    assert {finding.name for finding in verification.findings} == set(NEEDED)
    assert hub.requests == []
    assert repair(verification) is verification


def test_each_kind_of_damage_is_named_and_repaired(hub, files, folder):
    damage(folder, files)
    verification = verify(str(folder))
    wrong = problems(verification)
    assert set(wrong) == {SHARDS[0], SHARDS[1], "config.json"}
    assert digest(files[SHARDS[0]]) in wrong[SHARDS[0]]
    assert wrong[SHARDS[1]] == "100 bytes, not 30017"
    assert wrong["config.json"] == "missing"
    assert hub.requests == []
    mended = repair(verification, CONFIG)
    assert hub.downloaded() == sorted(wrong)
    assert mended.damaged == ()
    assert {f.name for f in mended.findings if f.repaired} == set(wrong)
    assert mended.received == sum(len(files[name]) for name in wrong)
    assert {name: (folder / name).read_bytes() for name in NEEDED} == {
        name: files[name] for name in NEEDED
    }
    assert problems(verify(str(folder))) == {}
    assert read_manifest(folder).find(SHARDS[0]).vouches_for(folder / SHARDS[0])


def test_without_a_record_the_hub_is_asked(hub, files, folder, tmp_path):
    (folder / MANIFEST).unlink()
    if folder.parent.name != "snapshots":
        with pytest.raises(SourceError, match=r"has no mlx-probe-manifest\.json") as e:
            verify(str(folder))
        assert "--local-dir" in e.value.remedy
        return
    assert problems(verify(str(folder), CONFIG)) == {}
    damage(folder, files)
    for target in (str(folder), REPO, f"{REPO}@{commit_of(f'{REPO}main')}"):
        verification = verify(target, CONFIG)
        assert set(problems(verification)) == {SHARDS[0], SHARDS[1], "config.json"}
        assert REPO in verification.against
    assert repair(verification, CONFIG).damaged == ()
    assert problems(verify(REPO, CONFIG)) == {}
    # Still as huggingface_hub keeps it: the contents apart from the names.
    assert (folder / SHARDS[0]).is_symlink()


def test_a_lost_index_is_named(hub, files, folder):
    if folder.parent.name == "snapshots":
        (folder / MANIFEST).unlink()
        (folder / "model.safetensors.index.json").unlink()
        verification = verify(REPO, CONFIG)
        assert problems(verification) == {"model.safetensors.index.json": "missing"}
        assert repair(verification, CONFIG).damaged == ()


def test_a_model_that_was_never_downloaded(hub, files):
    assert set(problems(verify(REPO, CONFIG)).values()) == {"missing"}


def test_the_damaged_file_stays_until_the_new_one_is_right(hub, files, folder):
    damage(folder, files)
    before = (folder / SHARDS[0]).read_bytes()
    hub.faults = Faults(1, ("flip",), share=1.0, most=99)
    hub.faults.refuse = lambda method, path: None
    with pytest.raises(SourceError, match="arrives damaged"):
        repair(verify(str(folder)), CONFIG)
    assert (folder / SHARDS[0]).read_bytes() == before
    hub.faults = None
    assert repair(verify(str(folder)), CONFIG).damaged == ()


def test_another_mirror_may_be_named(hub, files, folder, monkeypatch):
    from hub_server import Hub

    damage(folder, files)
    mirror = Hub(repos=hub.repos)
    mirror.start()
    try:
        hub.stop()
        config = DownloadConfig(endpoints=(mirror.url,), retry=hasty())
        assert repair(verify(str(folder)), config).damaged == ()
    finally:
        mirror.stop()
    assert mirror.downloaded()


def test_what_is_published_otherwise_by_now_is_refused(hub, files, folder):
    damage(folder, files)
    verification = verify(str(folder))
    hub.repos[REPO]["main"] = make_files(9)
    with pytest.raises(SourceError, match="published with another content"):
        repair(verification, CONFIG)


def test_linked_and_addressed_models(hub, files, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for name in NEEDED:
        (model / name).write_bytes(files[name])
    hub.repos[REPO]["main"]["whole.safetensors"] = files[SHARDS[0]]
    address = f"{hub.url}/cdn/{REPO}/main/whole.safetensors"
    for text, name in ((str(model), SHARDS[0]), (address, "whole.safetensors")):
        folder = tmp_path / f"copy of {len(text)}"
        download(parse_reference(text), DownloadConfig(folder, retry=hasty()))
        (folder / name).unlink()
        (folder / name).write_bytes(b"x")
        mended = repair(verify(str(folder)), CONFIG)
        assert mended.damaged == ()
        assert (folder / name).read_bytes() == files[SHARDS[0]]
    assert (model / SHARDS[0]).read_bytes() == files[SHARDS[0]]


def test_a_folder_whose_original_is_damaged_too(files, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    folder = tmp_path / "copy"
    download(parse_reference(str(model)), DownloadConfig(folder))
    (model / "model.safetensors").write_bytes(b"WEIGHTS")
    verification = verify(str(folder))
    assert set(problems(verification)) == {"model.safetensors"}
    with pytest.raises(SourceError, match="is not what it was"):
        repair(verification)


@pytest.mark.parametrize("source", ["nobody", "../x", ""])
def test_a_record_that_names_no_source(folder, source):
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, "source": source}))
    (folder / SHARDS[0]).unlink()
    with pytest.raises(SourceError, match="names no source"):
        repair(verify(str(folder)), CONFIG)


def rewrite(folder, **changes):
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, **changes}))


def test_a_manifest_does_not_decide_where_the_token_goes(hub, folder):
    from hub_server import Hub

    thief = Hub(repos=hub.repos)
    thief.start()
    try:
        rewrite(folder, endpoint=thief.url)
        (folder / "config.json").unlink()
        assert repair(verify(str(folder)), CONFIG).damaged == ()
        assert thief.requests == []
    finally:
        thief.stop()


def test_a_record_that_leads_to_itself(folder):
    rewrite(folder, source="local", model=str(folder), revision="")
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match="own folder"):
        repair(verify(str(folder)), CONFIG)


def test_what_cannot_be_verified(hub, tmp_path):
    for text in ("pypi:some-package", "https://host.test/x.gguf"):
        with pytest.raises(SourceError, match="verified where they are"):
            verify(text)


def test_a_repository_with_hostile_names_is_still_verified(hub, files, folder):
    hub.repos[REPO]["main"] |= {"/etc/hostname": b"x", "../x": b"x", "y" * 4000: b"x"}
    assert problems(verify(REPO, CONFIG)).keys() <= set(NEEDED)


@settings(deadline=None, max_examples=30)
@given(position=st.integers(0, 29_999), bit=st.integers(0, 7))
def test_any_flipped_bit_is_detected(tmp_path_factory, position, bit):
    folder = tmp_path_factory.mktemp("bits")
    model = folder / "model"
    model.mkdir()
    data = make_files()[SHARDS[0]]
    (model / "model.safetensors").write_bytes(data)
    download(parse_reference(str(model)), DownloadConfig(folder / "copy"))
    copy = folder / "copy" / "model.safetensors"
    assert not verify(str(folder / "copy")).damaged
    spoiled = bytearray(data)
    spoiled[position] ^= 1 << bit
    copy.write_bytes(spoiled)
    assert [f.name for f in verify(str(folder / "copy")).damaged] == ["model.safetensors"]
    # The model, its manifest, the log and the samples.
    assert len(tree(folder / "copy")) == 4
