import pytest

from mlx_probe.lab.data.toolcalls.config import ToolCallsConfig
from mlx_probe.lab.data.toolcalls.prepare import prepare_toolcalls


@pytest.fixture
def prepare(tmp_path):
    """Prepares sources."""

    def go(*sources, out=tmp_path / "out", **settings):
        options = {
            name: settings.pop(name)
            for name in ("overwrite", "on_progress", "watch")
            if name in settings
        }
        config = ToolCallsConfig(sources=tuple(map(str, sources)), **settings)
        return prepare_toolcalls(config, out, **options)

    return go
