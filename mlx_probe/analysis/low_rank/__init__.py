"""The difference of two models in few directions: factors of each matrix, and what they mean."""
