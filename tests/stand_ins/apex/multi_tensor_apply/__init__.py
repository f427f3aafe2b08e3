"""NVIDIA's apex has a module of this name."""
