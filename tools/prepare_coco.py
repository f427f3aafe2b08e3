"""COCO's pictures and annotations -> one HDF5 file of training samples (`--help` tells more)."""

import sys

from simplepose.cli import door, prepare_coco

if __name__ == "__main__":
    sys.exit(door(prepare_coco.main))
