"""Networks, and loading and saving them."""

from simplepose.models.fastpose import FastPose
from simplepose.models.imhn import IMHN

__all__ = ["IMHN", "FastPose"]
