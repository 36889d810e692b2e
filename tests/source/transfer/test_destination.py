"""Where downloaded files may go, and where not."""

import os

import pytest
from hub_models import tree
from hub_server import blob_id, digest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import SourceError
from mlx_probe.source.hub.cache import CacheDestination
from mlx_probe.source.transfer.destination import FolderDestination
from mlx_probe.source.transfer.digest import PublishedFile, check_names, hash_file, name_problem

DATA = b"weights"
KEY = digest(DATA)


def fill(destination, name="model.safetensors", data=DATA):
    file = PublishedFile(name, len(data), digest(data))
    with destination.lock(digest(data)):
        with destination.open_partial(digest(data)) as partial:
            partial.write(data)
        return destination.keep(file, digest(data))


HOSTILE = [
    "../x.safetensors",
    "/x.safetensors",
    "a/../../x.safetensors",
    "a/./x.safetensors",
    "./x.safetensors",
    "a//x.safetensors",
    "a\\..\\x.safetensors",
    "C:x.safetensors",
    "x" * 4000,
    "/".join(["long"] * 1000),
    "\u00e9" * 128,
    "x\x1b[2J.safetensors",
    "x\n.safetensors",
    "x\0.safetensors",
    "x\u202e.safetensors",
    "\udcff.safetensors",
    "",
    ".",
    "..",
    "mlx-probe-manifest.json",
    "MLX-Probe-Manifest.json",
    ".mlx-probe/x.incomplete",
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:20]))
def test_hostile_names_are_refused(name):
    assert name_problem(name)
    with pytest.raises(SourceError) as e:
        check_names(["config.json", name], "owner/name")
    assert len(e.value.fact) < 400
    assert all(c.isprintable() for c in e.value.fact)


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a/b"),
        ("a/b/c", "A/B"),
        ("Model.safetensors", "model.safetensors"),
        ("caf\u00e9", "cafe\u0301"),
        ("stra\u00dfe", "STRASSE"),
    ],
)
def test_names_that_collide_on_some_system(names):
    for pair in (names, names[::-1]):
        with pytest.raises(SourceError, match=r"one name on some systems|file and a folder"):
            check_names(pair, "owner/name")


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("./\\ab~:", max_size=12))
def test_a_name_that_passes_stays_below_its_folder(tmp_path_factory, name):
    if name_problem(name):
        return
    folder = tmp_path_factory.mktemp("destination")
    path = fill(FolderDestination(folder / "in"), name)
    assert path.resolve().is_relative_to((folder / "in").resolve())
    assert [child.name for child in folder.iterdir()] == ["in"]


def test_a_folder_is_filled(tmp_path):
    destination = FolderDestination(tmp_path / "new" / "folder")
    file = PublishedFile("sub/m.gguf", len(DATA), KEY)
    assert destination.find(file) is None
    assert fill(destination, "sub/m.gguf").read_bytes() == DATA
    assert destination.find(file) == tmp_path / "new/folder/sub/m.gguf"
    assert destination.find(PublishedFile("sub/m.gguf", 3)) is None
    workshop = [".mlx-probe", f".mlx-probe/{KEY}.lock"]
    assert sorted(tree(tmp_path / "new/folder")) == [*workshop, "sub", "sub/m.gguf"]


def test_what_is_unfinished_stays(tmp_path):
    destination = FolderDestination(tmp_path)
    with destination.open_partial(KEY) as partial:
        partial.write(DATA[:3])
    assert destination.partial_size(KEY) == 3
    with destination.open_partial(KEY) as partial:
        assert partial.read() == DATA[:3]
        partial.truncate(0)
    assert not (tmp_path / ".mlx-probe" / f"{KEY}.incomplete").exists()


@pytest.fixture
def outside(tmp_path):
    """A folder beside the target, and what is in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_bytes(b"do not touch")
    return folder


def test_a_linked_folder_is_not_written_through(tmp_path, outside):
    target = tmp_path / "target"
    target.mkdir()
    (target / "sub").symlink_to(outside)
    (target / ".mlx-probe").symlink_to(outside)
    before = tree(outside)
    destination = FolderDestination(target)
    with pytest.raises(SourceError, match="is a link, which may lead elsewhere"):
        destination.find(PublishedFile("sub/m.gguf", 7))
    with pytest.raises(SourceError, match="is a link, which may lead elsewhere"):
        destination.prepare("sub/m.gguf")
    with (
        pytest.raises(SourceError, match="is a link, which may lead elsewhere"),
        destination.lock(KEY),
    ):
        pass
    with pytest.raises(SourceError, match="is a link"), destination.open_partial(KEY):
        pass
    assert tree(outside) == before


def test_linked_files_are_replaced_not_written_through(tmp_path, outside):
    target = tmp_path / "target"
    (target / ".mlx-probe").mkdir(parents=True)
    for name in ("m.gguf", f".mlx-probe/{KEY}.incomplete", f".mlx-probe/{KEY}.lock"):
        (target / name).symlink_to(outside / "precious")
    before = tree(outside)
    path = fill(FolderDestination(target), "m.gguf")
    assert not path.is_symlink()
    assert path.read_bytes() == DATA
    assert tree(outside) == before


def test_another_name_of_a_file_outside_is_not_written_to(tmp_path, outside):
    (tmp_path / "target/.mlx-probe").mkdir(parents=True)
    os.link(outside / "precious", tmp_path / f"target/.mlx-probe/{KEY}.incomplete")
    destination = FolderDestination(tmp_path / "target")
    assert destination.partial_size(KEY) == 0
    fill(destination, "m.gguf")
    assert (outside / "precious").read_bytes() == b"do not touch"


def test_a_folder_or_a_file_in_the_way(tmp_path):
    destination = FolderDestination(tmp_path)
    (tmp_path / "m.gguf").mkdir()
    with pytest.raises(SourceError, match="is a folder"):
        destination.prepare("m.gguf")
    (tmp_path / "sub").write_bytes(b"")
    with pytest.raises(SourceError, match="is no folder"):
        destination.prepare("sub/m.gguf")


@pytest.fixture
def cache(hub):
    return CacheDestination("owner/name", "c" * 40)


def test_the_cache_is_as_huggingface_hub_has_it(cache, tmp_path):
    from huggingface_hub import scan_cache_dir, snapshot_download, try_to_load_from_cache

    path = fill(cache, "sub/m.gguf")
    cache.remember("refs/pr/1")
    cache.remember(None)
    assert path.is_symlink()
    assert not path.readlink().is_absolute()
    cached = try_to_load_from_cache("owner/name", "sub/m.gguf", cache_dir=tmp_path / "hub")
    assert cached == str(path)
    for revision in (None, "refs/pr/1", "c" * 40):
        folder = snapshot_download(
            "owner/name", revision=revision, cache_dir=tmp_path / "hub", local_files_only=True
        )
        assert folder == str(cache.folder)
    scanned = scan_cache_dir(tmp_path / "hub")
    assert not scanned.warnings
    (repo,) = scanned.repos
    assert (repo.repo_id, repo.size_on_disk, repo.nb_files) == ("owner/name", len(DATA), 1)
    assert set(repo.refs) == {"main", "refs/pr/1"}


def test_a_content_of_two_commits_is_kept_once(cache):
    file = PublishedFile("m.gguf", len(DATA), KEY)
    first = fill(cache, "m.gguf")
    other = CacheDestination("owner/name", "d" * 40)
    second = other.find(file)
    assert second.resolve() == first.resolve()
    assert second.parent == other.folder


@pytest.mark.parametrize("links", ["hard", "none"])
def test_disks_without_symbolic_links(cache, monkeypatch, links):
    def refuse(self, *arguments, **options):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.symlink_to", refuse)
    if links == "none":
        monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    path = fill(cache, "m.gguf")
    assert not path.is_symlink()
    assert cache.find(PublishedFile("m.gguf", len(DATA), KEY)).read_bytes() == DATA


@pytest.mark.parametrize("revision", ["../../../x", "/tmp/x", "a\\b", "\x1b"])
def test_a_revision_that_is_no_name_is_not_noted(cache, tmp_path, revision):
    fill(cache)
    before = tree(tmp_path)
    cache.remember(revision)
    assert tree(tmp_path) == before


def test_hashes_of_a_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(DATA)
    pieces = []
    file = PublishedFile("x", len(DATA), None, blob_id(DATA))
    hasher = hash_file(path, file, pieces.append)
    assert (hasher.sha256, hasher.mismatch(file), sum(pieces)) == (KEY, "", len(DATA))
    for wrong in (
        PublishedFile("x", 8),
        PublishedFile("x", 7, "0" * 64),
        PublishedFile("x", 7, None, "0" * 40),
    ):
        assert hash_file(path, wrong).mismatch(wrong)
