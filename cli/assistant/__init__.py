"""What `mlx-probe mcp` offers to a language model: read-only tools over runs that a user named."""
