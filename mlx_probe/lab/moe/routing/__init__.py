"""What a mixture's experts and routers do while it reads a text."""

from __future__ import annotations

from mlx_probe.lab.moe.routing.measure import measure_routing
from mlx_probe.lab.moe.routing.record import LayerRouting, RouterMeans, Routing

__all__ = ["LayerRouting", "RouterMeans", "Routing", "measure_routing"]
