"""Convert COCO images and annotations to one HDF5 file of training samples: the command `prepare`."""

import sys

from simplepose.cli import prepare_coco, run_command

if __name__ == "__main__":
    sys.exit(run_command(prepare_coco.main))
