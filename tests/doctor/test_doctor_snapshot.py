"""An environment kept and compared with a later one."""

from dataclasses import replace

import pytest
from machines import LINUX, MAC, but

from mlx_probe.core.errors import ResultError
from mlx_probe.doctor import Difference, examine, read_snapshot, write_snapshot
from mlx_probe.doctor.facts import Tool


@pytest.fixture
def kept(tmp_path):
    folder = tmp_path / "kept" / "here"
    write_snapshot(folder, MAC, examine(MAC))
    return folder


def test_a_snapshot_is_two_files_to_read(kept):
    assert sorted(path.name for path in kept.iterdir()) == [
        "environment.lock.txt",
        "environment.md",
    ]
    lock = (kept / "environment.lock.txt").read_text("utf-8")
    assert lock == "mlx==0.32.4\nmlx-metal==0.32.4\nnumpy==2.4.0\n"
    summary = (kept / "environment.md").read_text("utf-8").splitlines()
    assert summary[0] == "# Environment"
    assert "- Python: 3.12.4" in summary
    assert "- MLX device: gpu: Apple M3 Ultra" in summary
    assert "- python, ok: Python 3.12.4 for arm64, macOS-15.1-arm64-arm-64bit" in summary


def test_nothing_differs_from_itself(kept):
    assert read_snapshot(kept).differences(MAC) == []


def test_measurements_are_no_differences(kept):
    busy = replace(
        but("blas", double_rate=30e9, single_rate=70e9, mlx_rate=200e9),
        disks=(),
        hub=None,
    )
    assert read_snapshot(kept).differences(busy) == []


def test_packages_that_changed_came_or_went(kept):
    now = but(packages={"mlx": "0.33.0", "mlx-metal": "0.32.4", "torch": "2.13.0"})
    assert read_snapshot(kept).differences(now) == [
        Difference("package", "mlx", "0.32.4", "0.33.0"),
        Difference("package", "torch", None, "2.13.0"),
        Difference("package", "numpy", "2.4.0", None),
    ]


@pytest.mark.parametrize(
    ("now", "name"),
    [
        (but("system", python="3.13.0"), "Python"),
        (but("mlx", device="Apple M4"), "MLX device"),
        (but("mlx", gpu=False), "MLX device"),
        (but("blas", library="openblas"), "BLAS of numpy"),
        (but("blas", mlx_rate=6e9), "BLAS of MLX"),
    ],
)
def test_python_device_and_blas_are_compared(kept, now, name):
    assert [difference.name for difference in read_snapshot(kept).differences(now)] == [name]


def test_another_machine_differs_in_what_makes_it_another(kept):
    names = {difference.name for difference in read_snapshot(kept).differences(LINUX)}
    assert {"platform", "machine", "MLX device", "BLAS of numpy", "BLAS of MLX"} <= names


def test_what_a_program_says_of_itself_forges_no_line(tmp_path):
    forging = but(tools=(Tool("Ollama", "1\n- Python: 2.7\n## What was found\x1b[2J"),))
    write_snapshot(tmp_path, forging, examine(forging))
    assert read_snapshot(tmp_path).differences(forging) == []
    text = (tmp_path / "environment.md").read_text("utf-8")
    assert text.count("\n- Python: ") == 1
    assert "\x1b" not in text


def test_a_later_snapshot_replaces_the_first(kept):
    write_snapshot(kept, LINUX, examine(LINUX))
    assert read_snapshot(kept).differences(LINUX) == []


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("environment.md", None, "it is not there"),
        ("environment.lock.txt", None, "it is not there"),
        ("environment.md", b"\xff\xfe", "UnicodeDecodeError"),
        ("environment.md", b"# Something else\n", "no heading"),
        ("environment.lock.txt", b"numpy\n", "not name==version"),
    ],
)
def test_no_snapshot_is_no_comparison(kept, name, content, says):
    path = kept / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ResultError, match=says):
        read_snapshot(kept).differences(MAC)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="cannot write") as caught:
        write_snapshot(tmp_path / "file" / "below", MAC, [])
    assert "--snapshot" in caught.value.remedy
