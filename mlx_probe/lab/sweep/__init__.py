"""Many runs of one command with different settings, and which of them is the best."""
