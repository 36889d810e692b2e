"""The engine: plan, stream, measure, write rows."""
