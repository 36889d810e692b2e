import json

import pytest
from hub_models import tree
from hub_server import digest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import SourceError
from mlx_probe.source.manifest import MANIFEST, read_manifest, record, write_manifest
from mlx_probe.source.transfer.digest import PublishedFile


def put(folder, name, data=b"data"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return record(PublishedFile(name, len(data), digest(data)), path)


def write(folder, entries, revision="r1"):
    return write_manifest(folder, "hub", "o/n", revision, "https://hub.test", entries)


def test_what_is_written_is_read(tmp_path):
    entries = [put(tmp_path, "b/x.gguf"), put(tmp_path, "a.json")]
    path = write(tmp_path, entries)
    assert path.name == MANIFEST
    manifest = read_manifest(tmp_path)
    assert manifest.files == tuple(sorted(entries, key=lambda entry: entry.name))
    assert (manifest.source, manifest.model, manifest.revision) == ("hub", "o/n", "r1")
    assert manifest.endpoint == "https://hub.test"
    assert manifest.created_at.endswith("Z")
    assert manifest.find("a.json") == entries[1]
    assert manifest.find("c") is None
    assert json.loads(path.read_text())["format"] == 1
    assert read_manifest(tmp_path / "b") is None
    assert sorted(tree(tmp_path)) == ["a.json", "b", "b/x.gguf", MANIFEST]


def test_an_untouched_file_is_vouched_for(tmp_path):
    entry = put(tmp_path, "x")
    assert entry.vouches_for(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"atad")
    assert not entry.vouches_for(tmp_path / "x")
    assert not entry.vouches_for(tmp_path / "y")


def test_other_files_of_the_same_revision_are_kept(tmp_path):
    first, second, gone = (put(tmp_path, name) for name in ("1", "2", "3"))
    write(tmp_path, [first, gone])
    (tmp_path / "3").unlink()
    write(tmp_path, [second])
    assert read_manifest(tmp_path).files == (first, second)
    write(tmp_path, [second], "r2")
    assert read_manifest(tmp_path).files == (second,)


def test_a_link_of_its_name_is_replaced(tmp_path):
    (tmp_path / "outside").write_text("precious")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / MANIFEST).symlink_to(tmp_path / "outside")
    write(folder, [put(folder, "x")])
    assert (tmp_path / "outside").read_text() == "precious"
    assert not (folder / MANIFEST).is_symlink()


GOOD = {"name": "x", "size": 1, "sha256": "0" * 64, "mtime_ns": 1}
WHOLE = {
    "format": 1,
    "source": "hub",
    "model": "o/n",
    "revision": "r",
    "endpoint": "",
    "created_at": "",
    "code_version": "",
    "files": [GOOD],
}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"model": 5},
        {"files": {}},
        {"files": [{**GOOD, "size": "1"}]},
        {"files": [{**GOOD, "size": True}]},
        {"files": [{**GOOD, "sha256": "A" * 64}]},
        {"files": [{**GOOD, "name": "../x"}]},
        {"files": [{**GOOD, "name": "/etc/passwd"}]},
        {"files": [GOOD, {**GOOD, "name": "X"}]},
        {"files": [{**GOOD, "name": "x" * 4000}]},
        {"files": [5]},
    ],
)
def test_manifests_that_are_none(tmp_path, change):
    (tmp_path / MANIFEST).write_text(json.dumps({**WHOLE, **change}))
    with pytest.raises(SourceError) as e:
        read_manifest(tmp_path)
    assert MANIFEST in e.value.fact
    assert len(e.value.fact) < 500 + len(str(tmp_path))
    # It is no obstacle to a new one.
    write(tmp_path, [put(tmp_path, "a.json")])
    assert [file.name for file in read_manifest(tmp_path).files] == ["a.json"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@settings(deadline=None)
@given(st.binary(max_size=40) | JSON.map(lambda v: json.dumps({**WHOLE, "files": v}).encode()))
def test_any_content_is_a_manifest_or_a_clear_error(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("m")
    (folder / MANIFEST).write_bytes(content)
    try:
        manifest = read_manifest(folder)
    except SourceError:
        return
    assert all(len(file.sha256) == 64 for file in manifest.files)
