"""A run as one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

from mlx_probe.report.html.page import report_html

__all__ = ["report_html"]
