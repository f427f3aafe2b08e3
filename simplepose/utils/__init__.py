"""Utilities that know nothing of poses: files, processes and memory."""
