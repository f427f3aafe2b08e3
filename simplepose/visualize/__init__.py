"""Visualization of people, maps and curves."""
