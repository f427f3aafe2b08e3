"""Inference: frames -> maps -> people."""
