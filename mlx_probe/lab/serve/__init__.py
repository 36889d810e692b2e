"""mlx-lm's OpenAI-compatible server for one model, guarded and measured.

serve.py      the whole way: load, listen, answer until it is stopped
config.py     settings, and who may reach the server
engine.py     the model for mlx-lm's generation thread
handler.py    one connection: what is refused, /v1/models, /health, /metrics
watched.py    one request: its times, and whether its client is still there
tool_text.py  calls that a model writes as plain JSON become tool calls
metrics.py    counters, gauges and histograms in Prometheus' text format
"""
