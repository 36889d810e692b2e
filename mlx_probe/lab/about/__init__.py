"""A model as a whole: its facts, whether it runs, and the card that goes with it."""
