"""Importable stand-in for apex's CUDA extension."""
