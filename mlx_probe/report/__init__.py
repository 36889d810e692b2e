"""Rows and plans for people to look at; computes no metric."""
