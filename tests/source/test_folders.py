"""Folders that other libraries make: pipelines of diffusers, repositories of the Hub's cache."""

import pytest

from mlx_probe.core.errors import SourceError
from mlx_probe.source import resolve
from mlx_probe.source.selection import PIPELINE, Selection, select_files

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def test_a_pipeline_names_its_components(tmp_path):
    listing = (PIPELINE, "unet/config.json", UNET, "vae/config.json", VAE, "tokenizer/vocab.json")
    fill(tmp_path, *listing)
    with pytest.raises(SourceError, match="a pipeline of 2 models: unet, vae") as error:
        resolve(str(tmp_path))
    assert "the folder's path" in error.value.remedy
    with pytest.raises(SourceError, match="a pipeline of 2 models: unet, vae") as error:
        select_files(dict.fromkeys(listing, 1), "owner/name")
    assert "owner/name:unet" in error.value.remedy
    files = resolve(str(tmp_path / "unet"))
    assert files.weights == (tmp_path / UNET,)
    assert files.config == tmp_path / "unet/config.json"
    assert select_files(dict.fromkeys(listing, 1), "owner/name", "vae") == Selection(
        (VAE,), None, "vae/config.json"
    )


def test_a_pipeline_with_weights_of_one_component_is_read(tmp_path):
    fill(tmp_path, PIPELINE, "unet/config.json", UNET, "scheduler/scheduler_config.json")
    files = resolve(str(tmp_path))
    assert files.weights == (tmp_path / UNET,)
    assert files.config == tmp_path / "unet/config.json"


def test_a_folder_without_weights_names_those_below_that_have_some(tmp_path):
    fill(tmp_path, "a/m.gguf", "b/m.gguf", "c/notes.txt", ".cache/m.gguf")
    with pytest.raises(SourceError, match="has no weights itself; its folders a, b have") as error:
        resolve(str(tmp_path))
    assert str(tmp_path / "a") in error.value.remedy


def repository(folder, *commits, main=None):
    root = folder / "models--Qwen--Qwen3-0.6B"
    for commit in commits:
        fill(root / "snapshots" / commit, "model.safetensors", "config.json")
    if main:
        fill(root, "refs/main").joinpath("refs/main").write_text(main)
    return root


@pytest.mark.parametrize(("commits", "main"), [(("c0", "c1"), "c1"), (("c1",), None)])
def test_a_repository_of_the_cache_is_its_main_branch(tmp_path, commits, main):
    root = repository(tmp_path, *commits, main=main)
    for text in (root, root / "snapshots" / "c1"):
        files = resolve(str(text))
        assert (files.model_id, files.revision) == ("Qwen/Qwen3-0.6B", "c1")
        assert files.weights == (root / "snapshots/c1/model.safetensors",)
        assert files.path == root / "snapshots/c1"


def test_several_commits_and_no_branch_are_a_question(tmp_path):
    root = repository(tmp_path, "c0", "c1", main="c2")
    with pytest.raises(SourceError, match="has 2 snapshots and no commit of the branch main") as e:
        resolve(str(root))
    assert str(root / "snapshots/c0") in e.value.remedy


def test_an_upper_case_suffix(tmp_path):
    fill(tmp_path, "MODEL.SAFETENSORS", "config.json")
    for text in (tmp_path, tmp_path / "MODEL.SAFETENSORS"):
        assert resolve(str(text)).weights == (tmp_path / "MODEL.SAFETENSORS",)
