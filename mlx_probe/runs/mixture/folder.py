"""The folder of a mixture's statistics: the names of its files, for those who write and read it."""

from __future__ import annotations

__all__ = ["EXPERTS", "KIND", "LAYERS", "MAPS", "RECEIPT", "ROUTING"]

KIND = "moe-stats"
# A row for each expert of each layer, and one for each layer.
EXPERTS, LAYERS = "experts", "layers"
# Arrays of a layer's experts: what there is of `coactivation`, `similarity` (layers, N, N),
# `load_by_type` (layers, N, types), `load_by_position` (layers, N, bins); float32.
MAPS = "maps.safetensors"
# A row for each token of the beginning of the text and each layer: its experts and their weights.
ROUTING = "routing.parquet"
# The file in which a graft says of what it was made, and what that did.
RECEIPT = "graft_receipt.json"
