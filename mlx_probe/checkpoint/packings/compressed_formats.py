"""Which format the pieces of compressed-tensors and AutoRound have, and whether config.json agrees.

A kind is how codes and scales are read: "words" (packed integers), "int8", "fp8", "mxfp8", or a
key of `microscaled.FORMATS`. Types and shapes leave some kinds apart only by what is declared: a
byte for two columns and a byte for each 32 of them is MXFP4, MXINT4 or NVFP4 v2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.checkpoint.packings import auto_round, microscaled
from mlx_probe.core.dtypes import SCALE_DTYPE
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["METHOD", "kind_of", "schemes"]

METHOD = "compressed-tensors"
# Kinds of each format; the versions of the library have more, which are not read (marlin-24,
# sparse-24-bitmask, sparse-bitmask).
_FORMATS: dict[str, tuple[str, ...]] = {
    "pack-quantized": ("words",),
    "int-quantized": ("int8",),
    "float-quantized": ("fp8",),
    "naive-quantized": ("int8", "fp8"),
    "mxfp8-quantized": ("mxfp8",),
    "mxfp6-pack-quantized": ("mxfp6",),
    "mxfp4-pack-quantized": ("mxfp4",),
    "nvfp4-pack-quantized": ("nvfp4",),
    # AutoRound's, in the manner of compressed-tensors.
    "nvfp4-e5m3-pack-quantized": ("nvfp4_v2",),
}
# Kinds of AutoRound's ``data_type``, which may end in the bits ("mx_fp4").
_DATA_TYPES: dict[str, tuple[str, ...]] = {
    "mx_fp": ("mxfp4", "mxfp8"),
    "nv_fp": ("nvfp4",),
    "mx_int": ("mxint4",),
    "nvfp4_v2": ("nvfp4_v2",),
}


def kind_of(name: str, main: TensorInfo, scale: TensorInfo, settings: Mapping[str, Any]) -> str:
    """The one kind that pieces and config.json allow.

    Args:
        name: The weight, for messages.
        main: Its codes.
        scale: Their scales.
        settings: config.json's ``quantization_config``.

    Raises:
        PackingError: No kind is left, or several are.
    """
    exponents = scale.dtype in ("U8", SCALE_DTYPE)
    kinds = {
        "I32": ["words"],
        "I8": ["int8"],
        "F8_E4M3": ["mxfp8" if exponents else "fp8"],
        "U8": microscaled.fitting(main, scale),
    }.get(main.dtype, [])
    if not kinds:
        raise PackingError(
            f"{name}: {main.dtype} codes {list(main.shape)} with {scale.dtype} scales "
            f"{list(scale.shape)} are no known format"
        )
    allowed, declared = _declared(name, settings)
    left = kinds if allowed is None else [kind for kind in kinds if kind in allowed]
    if not left:
        raise PackingError(
            f"{name}: its pieces are {' or '.join(kinds)}, which config.json's {declared} is not"
        )
    if len(left) > 1:
        raise PackingError(
            f"{name}: its pieces may be {' or '.join(left)}; config.json must name the format"
        )
    return left[0]


def schemes(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What config.json says about weights, for all groups of modules."""
    entries = [group.get("weights") for group in _groups(settings)]
    return [weights for weights in entries if isinstance(weights, Mapping)]


def _groups(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    groups = settings.get("config_groups")
    entries = list(groups.values()) if isinstance(groups, Mapping) else []
    return [group for group in entries if isinstance(group, Mapping)]


def _declared(name: str, settings: Mapping[str, Any]) -> tuple[list[str] | None, str]:
    """Kinds that config.json declares, None for any; and how it names them."""
    method = settings.get("quant_method")
    if method in auto_round.METHODS:
        return _auto_round(name, settings)
    if method is None and "format" not in settings:
        return None, ""
    given = [group.get("format") for group in _groups(settings)]
    top = settings.get("format")
    if top is not None and (top != "mixed-precision" or not any(given)):
        given.append(top)
    formats = {str(form) for form in given if form is not None}
    unknown = [form for form in formats if form not in _FORMATS]
    if unknown and len(unknown) == len(formats):
        names = " and ".join(sorted(repr(form) for form in unknown))
        raise PackingError(f"{name}: the compressed-tensors format {names} is not supported")
    known = [form for form in _FORMATS if form in formats] or list(_FORMATS)
    kinds = [kind for form in known for kind in _FORMATS[form]]
    return kinds, f"format {' or '.join(repr(form) for form in known)}"


def _auto_round(name: str, settings: Mapping[str, Any]) -> tuple[list[str], str]:
    # MXINT4 goes by the name of AutoRound's own format; its data_type says so, as for the others.
    own = settings.get("packing_format") == "auto_round"
    if not own and auto_round.layout_of(settings) != "compressed":
        raise PackingError(
            f"{name}: AutoRound's packing_format {settings.get('packing_format')!r} does not "
            "store such pieces, or is not supported"
        )
    types = auto_round.data_types(settings)
    kinds = [
        kind
        for start, kinds in _DATA_TYPES.items()
        if any(given == start or given.rstrip("0123456789") == start for given in types)
        for kind in kinds
    ]
    return kinds, f"data_type {' or '.join(map(repr, types)) or None}"
