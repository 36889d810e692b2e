"""Load on an OpenAI-compatible server, and the latencies that its clients see."""
