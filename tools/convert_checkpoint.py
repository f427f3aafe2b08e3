"""Checkpoints of the released code and of our training <-> safetensors: the verb `convert`."""

import sys

from simplepose.cli import convert_checkpoint, door

if __name__ == "__main__":
    sys.exit(door(convert_checkpoint.main))
