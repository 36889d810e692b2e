"""The experts of a mixture, side by side."""
