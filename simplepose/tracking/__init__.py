"""Tracking: assign persistent ids to the people found in the frames of a video."""

from simplepose.tracking.tracker import Tracker

__all__ = ["Tracker"]
