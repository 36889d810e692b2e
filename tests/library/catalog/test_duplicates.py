"""Duplicates: all files with the same content, and no others."""

import hashlib
import os
import random
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores_on_disk import gguf_file, hub_model, ollama_model

from mlx_probe.library.catalog import duplicates as duplicates_module
from mlx_probe.library.catalog import find_duplicates, hash_models, load_models, scan


def plant(root, name, content):
    path = root / name / "model.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def groups(result):
    return sorted(
        sorted(str(name) for copy in group.copies for name in copy.names) for group in result.groups
    )


def search(database, **options):
    return find_duplicates(database, load_models(database), **options)


def test_two_hundred_files(database, tmp_path):
    """Planted copies; and what looks like copies and is none."""
    rng = random.Random(1)
    contents = {}
    for number in range(90):
        contents[f"single{number}"] = rng.randbytes(1000 + number % 7)
    for number in range(20):
        content = rng.randbytes(300_000 + number % 3)
        for twin in range(2 + number % 3):
            contents[f"copy{number}-{twin}"] = content
    # The beginning, the middle and the end are the same; one byte elsewhere is not.
    base = rng.randbytes(900_000)
    for number in range(15):
        offset = 100_000 + 11_111 * number
        contents[f"near{number}"] = base[:offset] + bytes([base[offset] ^ 1]) + base[offset + 1 :]
    contents["near-twin"] = contents["near3"]
    for number in range(10):
        contents[f"empty{number}"] = b""
    paths = {name: plant(tmp_path, name, content) for name, content in contents.items()}
    while len(paths) < 180:
        paths[f"more{len(paths)}"] = plant(tmp_path, f"more{len(paths)}", rng.randbytes(1000))
    planted = list(paths)
    for number in range(10):
        for kind, link in (("hard", os.link), ("soft", os.symlink)):
            path = tmp_path / f"{kind}{number}" / "model.gguf"
            path.parent.mkdir()
            link(paths[planted[7 * number]], path)
            paths[f"{kind}{number}"] = path
    assert len(paths) == 200

    expected = defaultdict(set)
    for path in paths.values():
        if path.stat().st_size:
            expected[hashlib.sha256(path.read_bytes()).hexdigest()].add(path.stat().st_ino)
    expected = {digest: inodes for digest, inodes in expected.items() if len(inodes) > 1}
    assert len(expected) == 21

    scan(database, [tmp_path])
    result = search(database)
    assert {
        group.sha256: {copy.identity.inode for copy in group.copies} for group in result.groups
    } == expected
    assert result.troubles == []
    # 20 groups of 2, 3 and 4, and one near twin.
    sizes = [(len(group.copies), group.saves) for group in result.groups]
    assert all(
        saves == (n - 1) * group.size
        for (n, saves), group in zip(sizes, result.groups, strict=True)
    )
    # Nothing but what may be a copy was read whole.
    whole = sum(paths[name].stat().st_size for name in paths if name.startswith(("copy", "near")))
    assert result.hashed == whole
    again = search(database)
    assert (again.hashed, groups(again)) == (0, groups(result))


def test_a_change_is_seen(database, tmp_path):
    content = random.Random(0).randbytes(200_000)
    first, second = (plant(tmp_path, name, content) for name in ("a", "b"))
    scan(database, [tmp_path])
    assert groups(search(database)) == [[str(first), str(second)]]
    status = second.stat()
    second.write_bytes(content[:-100_000] + b"x" + content[-99_999:])
    # Even where it hides: the same size and time as before.
    os.utime(second, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert groups(search(database)) == []


def test_stores_know_their_hashes(database, home, tmp_path, monkeypatch):
    content = gguf_file(tmp_path / "w.gguf").read_bytes()
    monkeypatch.setenv("OLLAMA_MODELS", str(home / "ollama"))
    ollama_model(home / "ollama", "tiny", [("model", content)])
    hub_model(home / "hub", "owner/tiny", {"w.gguf": content})
    scan(database)
    result = search(database)
    (group,) = result.groups
    assert result.hashed == 0
    assert [copy.store for copy in group.copies] == ["hub", "ollama"]
    assert group.sha256 == hashlib.sha256(content).hexdigest()
    result = search(database, verify=True)
    assert (len(result.groups), result.hashed) == (1, 2 * len(content))


def test_the_keeper_is_of_the_first_store_then_the_oldest(database, home, tmp_path):
    content = gguf_file(tmp_path / "src" / "w.gguf").read_bytes()
    old, new = (plant(tmp_path / "models", name, content) for name in ("z", "a"))
    os.utime(old, (10**9, 10**9))
    studio = home / ".lmstudio" / "models" / "p" / "m" / "w.gguf"
    studio.parent.mkdir(parents=True)
    studio.write_bytes(content)
    scan(database)
    scan(database, [tmp_path / "models"])
    (group,) = search(database).groups
    assert [copy.names for copy in group.copies] == [(studio,), (old,), (new,)]
    assert group.saves == 2 * len(content)


def test_names_that_nobody_knows_free_nothing(database, tmp_path):
    content = random.Random(0).randbytes(1000)
    plant(tmp_path, "a", content)
    second = plant(tmp_path, "b", content)
    os.link(second, tmp_path / "elsewhere")
    os.utime(tmp_path / "a" / "model.gguf", (10**9, 10**9))
    scan(database, [tmp_path])
    (group,) = search(database).groups
    assert (group.saves, [copy.is_known for copy in group.copies]) == (0, [True, False])


def test_small_files_can_be_left_out(database, tmp_path):
    for name in "ab":
        plant(tmp_path / "small", name, b"x" * 10)
        plant(tmp_path / "large", name, b"x" * 1000)
    scan(database, [tmp_path])
    assert [group.size for group in search(database).groups] == [1000, 10]
    assert [group.size for group in search(database, smallest=11).groups] == [1000]


def test_a_file_that_cannot_be_read_costs_itself_alone(database, tmp_path, monkeypatch):
    for name in "abc":
        plant(tmp_path, name, b"x" * 1000)
    scan(database, [tmp_path])
    original = duplicates_module.hash_file

    def fail(path, on_bytes):
        if "b" in path.parts:
            raise OSError(5, "Input/output error")
        return original(path, on_bytes)

    monkeypatch.setattr(duplicates_module, "hash_file", fail)
    result = search(database)
    assert groups(result) == [[str(tmp_path / n / "model.gguf") for n in "ac"]]
    assert result.troubles == [(tmp_path / "b" / "model.gguf", "Input/output error")]


def test_hashing_fills_in_what_is_not_known(database, tmp_path):
    path = plant(tmp_path, "a", b"x" * 1000)
    plant(tmp_path, "b", b"y" * 1000)
    scan(database, [tmp_path])
    assert hash_models(database, load_models(database)).hashed == 2000
    assert hash_models(database, load_models(database)).hashed == 0
    model = next(model for model in load_models(database) if model.id == "a")
    assert model.weights[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return iter(lambda: tmp_path_factory.mktemp("drawn"), None)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 1000, 300_000])),
        min_size=1,
        max_size=8,
    ),
    st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=4),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_groups_are_the_classes_of_equal_bytes(folders, files, links):
    from mlx_probe.library.catalog import open_database

    root = next(folders)
    paths = []
    for number, (kind, size) in enumerate(files):
        paths.append(plant(root / "m", f"f{number}", bytes([kind]) * size))
    for number, (target, hard) in enumerate(links):
        path = root / "m" / f"l{number}" / "model.gguf"
        path.parent.mkdir()
        (os.link if hard else os.symlink)(paths[target % len(paths)], path)
    expected = defaultdict(set)
    for path, (kind, size) in zip(paths, files, strict=True):
        if size:
            expected[kind, size].add(path.stat().st_ino)
    with open_database(root / "c.sqlite") as database:
        scan(database, [root / "m"], stores=[])
        result = search(database)
    assert sorted(sorted(c.identity.inode for c in g.copies) for g in result.groups) == sorted(
        sorted(inodes) for inodes in expected.values() if len(inodes) > 1
    )
