"""The experts and routers of a mixture, in tables and maps."""
