"""What running a model would take: memory, speed, and what fewer bits cost."""
