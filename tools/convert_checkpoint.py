"""Convert between published checkpoints and safetensors: the command `convert`."""

import sys

from simplepose.cli import convert_checkpoint, run_command

if __name__ == "__main__":
    sys.exit(run_command(convert_checkpoint.main))
