"""PEFT makes an adapter, saves it, loads it and merges it: what the comparison has to say."""

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from safetensors.numpy import load_file

from referees.adapters.bases import model


@dataclass(frozen=True)
class Merged:
    """What PEFT makes of a base and an adapter.

    Attributes:
        adapter: Folder of the adapter.
        tensors: Name in the base's file to the merged tensor; None if PEFT does not merge it.
    """

    adapter: Path
    tensors: dict[str, np.ndarray] | None


def cut_adalora(peft_model):
    """Two of four directions are left in one module, three in another, as after training."""
    modules = ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj")
    kept = ([True, False, True, False], [True, True, True, False])
    peft_model.peft_config["default"].rank_pattern = {
        f"{module}.lora_E.default": mask for module, mask in zip(modules, kept, strict=True)
    }


EDITS = {"cut_adalora": cut_adalora}


def saved_base(name, folder):
    """A base in files, as transformers saves it; the folder."""
    if not folder.exists():
        model(name).save_pretrained(folder)
    return folder


def merged(peft: ModuleType, base, config, settings, edit, folder: Path) -> Merged:
    """Make an adapter of random values, and merge it as a user would.

    Args:
        peft: The package.
        base: Key of `bases.MODELS`.
        config: Name of a configuration class of PEFT.
        settings: Its settings.
        edit: Name of a function that changes the adapter before it is saved, or None.
        folder: Empty folder.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(11)
        settings = dict(settings)
        for key in ("velora_config", "kasa_config", "use_bdlora"):
            if key in settings:
                names = {
                    "velora_config": "VeloraConfig",
                    "kasa_config": "KasaConfig",
                    "use_bdlora": "BdLoraConfig",
                }
                made = getattr(peft.tuners.lora.config, names[key])
                settings[key] = made(**settings[key])
        made = peft.get_peft_model(copy.deepcopy(model(base)), getattr(peft, config)(**settings))
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.requires_grad:
                    parameter += 0.1 * torch.randn_like(parameter)
        if edit is not None:
            EDITS[edit](made)
        made.save_pretrained(folder / "adapter")
        if not hasattr(made.base_model, "merge_and_unload"):
            return Merged(folder / "adapter", None)
        torch.manual_seed(12)
        loaded = peft.PeftModel.from_pretrained(copy.deepcopy(model(base)), folder / "adapter")
        try:
            whole = loaded.merge_and_unload()
            whole.save_pretrained(folder / "merged")
        except (NotImplementedError, RuntimeError, ValueError):
            return Merged(folder / "adapter", None)
    return Merged(folder / "adapter", load_file(folder / "merged" / "model.safetensors"))
