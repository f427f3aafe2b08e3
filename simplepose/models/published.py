"""Checkpoints of the released SimplePose code: read and written, tensors untouched.

Such a file is a pickled dict with the network's state under `weights`; the names carry the prefix
`posenet.`, and `module.` before it when the network was wrapped for several GPUs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from simplepose.models.imhn import IMHN

WEIGHTS = "weights"
_PREFIX = "posenet."
_PARALLEL_PREFIX = "module."

_RENAMES = (
    (r"^stem\.conv\.(conv|bn)\.", r"pre.\g<1>1."),
    (r"^stem\.residual(\d)\.", r"pre.res\1."),
    (r"^stem\.dilated\.", r"pre.dilation."),
    (r"^hourglasses\.(\d)\.levels\.(\d)\.up\.", r"hourglass.\1.hg.\2.0."),
    (r"^hourglasses\.(\d)\.levels\.(\d)\.down\.", r"hourglass.\1.hg.\2.1."),
    (r"^hourglasses\.(\d)\.levels\.(\d)\.back\.", r"hourglass.\1.hg.\2.2."),
    (r"^hourglasses\.(\d)\.levels\.(\d)\.merge\.", r"hourglass.\1.hg.\2.3."),
    (r"^hourglasses\.(\d)\.levels\.(\d)\.innermost\.", r"hourglass.\1.hg.\2.4."),
    (r"\.reduce\.conv\.", r".convBlock.0."),
    (r"\.reduce\.bn\.", r".convBlock.1."),
    (r"\.middle\.conv\.", r".convBlock.3."),
    (r"\.middle\.bn\.", r".convBlock.4."),
    (r"\.expand\.conv\.", r".convBlock.6."),
    (r"\.expand\.bn\.", r".convBlock.7."),
    (r"\.skip\.conv\.", r".skipConv.0."),
    (r"\.skip\.bn\.", r".skipConv.1."),
    (r"^heads\.(\d)\.(\d)\.conv1\.", r"features.\1.before_regress.\2.0."),
    (r"^heads\.(\d)\.(\d)\.conv2\.", r"features.\1.before_regress.\2.1."),
    (r"^heads\.(\d)\.(\d)\.squeeze\.reduce\.", r"features.\1.before_regress.\2.2.fc.0."),
    (r"^heads\.(\d)\.(\d)\.squeeze\.expand\.", r"features.\1.before_regress.\2.2.fc.2."),
    (r"^heads\.(\d)\.(\d)\.maps\.", r"outs.\1.\2.conv."),
    (r"^merges\.(\d)\.(\d)\.maps\.", r"merge_preds.\1.\2.conv."),
    (r"^merges\.(\d)\.(\d)\.features\.", r"merge_features.\1.\2.conv."),
)


def published_name(name: str) -> str:
    """Our name of a state entry -> the released code's."""
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return _PREFIX + name


def to_ours(weights: Mapping[str, Tensor], network: IMHN) -> dict[str, Tensor]:
    """The entries of a published checkpoint under our names.

    An entry that the network does not know keeps its name, so that loading can tell of it.
    """
    ours = {published_name(name): name for name in network.state_dict()}
    bare = {name.removeprefix(_PARALLEL_PREFIX): tensor for name, tensor in weights.items()}
    return {ours.get(name, name): tensor for name, tensor in bare.items()}


def save(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write our state as the released code expects it."""
    torch.save({WEIGHTS: {published_name(name): tensor.clone() for name, tensor in state.items()}}, path)
