"""Synthetic people as a dataset with exact annotations."""
