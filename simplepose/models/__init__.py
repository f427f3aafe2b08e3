"""Networks, and the files that they come from."""

from simplepose.models.imhn import IMHN

__all__ = ["IMHN"]
