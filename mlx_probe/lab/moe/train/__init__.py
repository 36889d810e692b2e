"""Training of a mixture's gates, with its experts or without, beside a dense teacher."""
