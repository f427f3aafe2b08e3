"""Who is who from frame to frame: people found in the frames of a video -> the same people with ids."""

from simplepose.tracking.tracker import Tracker

__all__ = ["Tracker"]
