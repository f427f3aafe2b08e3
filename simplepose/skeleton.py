"""Skeletons: joints, limbs and the order of the network's channels.

A `Skeleton` is plain data and the only definition of these orders. Other code looks up joints, limbs and
channels by name. A skeleton has two orders of joints:

* *network* joints: one keypoint channel each, in channel order;
* *annotated* joints: the order of the dataset (COCO: 17 keypoints) and of `People.keypoints`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from simplepose import yaml_config
from simplepose.yaml_config import Length, Range

Name = Annotated[str, Length(100)]
Pair = tuple[Name, Name]
Pairs = Annotated[tuple[Pair, ...], Length(2000)]
Joints = Annotated[tuple[Name, ...], Length(500)]
Sigma = Annotated[float, Range(0, 10)]


@dataclass(frozen=True)
class Skeleton:
    """The joints and limbs of one kind of body.

    Attributes:
        name: used in messages.
        joints: network joints, in channel order.
        limbs: (from, to) joint names of each limb map, in channel order.
        annotated: joints in the order of the annotations (COCO: 17).
        sigmas: k/2 of COCO's object keypoint similarity (OKS) for each annotated joint.
        mirrored: (right, left) names that are swapped when an image is flipped horizontally.
        midpoints: network joints that are not annotated, and the two annotated joints that each lies between.
        bones: pairs of annotated joints that are connected when a person is drawn.
    """

    name: Name
    joints: Joints
    limbs: Pairs
    annotated: Joints
    sigmas: Annotated[tuple[Sigma, ...], Length(500)]
    mirrored: Pairs
    midpoints: Annotated[tuple[tuple[Name, Pair], ...], Length(500)] = ()
    bones: Pairs = ()

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)
        _validate(self)

    @cached_property
    def limb_ends(self) -> np.ndarray:
        """(L, 2) int32: network joint indices of each limb's two ends."""
        ends = [(self.joints.index(a), self.joints.index(b)) for a, b in self.limbs]
        return np.array(ends, np.int32).reshape(-1, 2)

    @cached_property
    def annotated_of_joint(self) -> np.ndarray:
        """(J,) int64: the annotated index of each network joint, -1 for a midpoint."""
        indices = {name: i for i, name in enumerate(self.annotated)}
        return np.array([indices.get(name, -1) for name in self.joints], np.int64)

    @cached_property
    def joint_of_annotated(self) -> np.ndarray:
        """(A,) int64: the network index of each annotated joint."""
        return np.array([self.joints.index(name) for name in self.annotated], np.int64)

    @cached_property
    def midpoint_ends(self) -> tuple[tuple[int, int, int], ...]:
        """(network joint, first annotated end, second annotated end) of each midpoint."""
        return tuple(
            (self.joints.index(name), self.annotated.index(a), self.annotated.index(b))
            for name, (a, b) in self.midpoints
        )

    @cached_property
    def bone_ends(self) -> np.ndarray:
        """(B, 2) int64: annotated joint indices of each bone."""
        ends = [[self.annotated.index(a), self.annotated.index(b)] for a, b in self.bones]
        return np.array(ends, np.int64).reshape(-1, 2)

    # The channels of the maps: limbs, keypoints, person mask, keypoint maximum.

    @property
    def limb_channels(self) -> slice:
        """Channels of the limb maps."""
        return slice(0, len(self.limbs))

    @property
    def keypoint_channels(self) -> slice:
        """Channels of the keypoint heatmaps."""
        return slice(len(self.limbs), len(self.limbs) + len(self.joints))

    @property
    def person_mask_channel(self) -> int:
        """Channel of the person mask."""
        return len(self.limbs) + len(self.joints)

    @property
    def keypoint_maximum_channel(self) -> int:
        """Channel of the maximum over the keypoint heatmaps."""
        return len(self.limbs) + len(self.joints) + 1

    @property
    def channels(self) -> int:
        """Number of channels of the network's output."""
        return len(self.limbs) + len(self.joints) + 2

    # Horizontal flip: element i after the flip is element order[i] before it.

    @cached_property
    def annotated_flip(self) -> np.ndarray:
        """(A,) int64: permutation of the annotated joints for a horizontal flip."""
        return _flip_order(self.annotated, self._mirror_name)

    @cached_property
    def joint_flip(self) -> np.ndarray:
        """(J,) int64: permutation of the network joints for a horizontal flip."""
        return _flip_order(self.joints, self._mirror_name)

    @cached_property
    def limb_flip(self) -> np.ndarray:
        """(L,) int64: permutation of the limbs for a horizontal flip, regardless of limb direction."""
        ends = [frozenset(limb) for limb in self.limbs]
        mirrored = [frozenset(map(self._mirror_name, limb)) for limb in self.limbs]
        return np.array([ends.index(limb) for limb in mirrored], np.int64)

    @cached_property
    def channel_flip(self) -> np.ndarray:
        """(C,) int64: permutation of the channels for a horizontal flip."""
        joints = self.joint_flip + len(self.limbs)
        other = [self.person_mask_channel, self.keypoint_maximum_channel]
        return np.concatenate([self.limb_flip, joints, other])

    def _mirror_name(self, name: str) -> str:
        for right, left in self.mirrored:
            if name in (right, left):
                return left if name == right else right
        return name

    def to_network(self, keypoints: np.ndarray) -> np.ndarray:
        """Convert annotated keypoints to network joints and add midpoints.

        Args:
            keypoints: (P, A, 3) x, y, v with COCO's v: 0 not labeled, 1 occluded, 2 visible.

        Returns:
            (P, J, 3) float32. A midpoint is labeled if both its ends are, and visible if both are visible.
            Joints that are not labeled are 0, 0, 0.
        """
        keypoints = np.asarray(keypoints, np.float32)
        joints = keypoints[:, self.annotated_of_joint]
        for joint, a, b in self.midpoint_ends:
            joints[:, joint, :2] = (keypoints[:, a, :2] + keypoints[:, b, :2]) / 2
            joints[:, joint, 2] = np.minimum(keypoints[:, a, 2], keypoints[:, b, 2])
        joints[joints[..., 2] <= 0] = 0
        return joints

    def to_annotated(self, joints: np.ndarray) -> np.ndarray:
        """Convert network joints (P, J, ...) to annotated joints (P, A, ...) and drop midpoints."""
        return joints[:, self.joint_of_annotated]

    def to_yaml(self) -> str:
        """Serialize the skeleton to YAML, with joints by name."""
        return yaml_config.write(self)

    @classmethod
    def from_yaml(cls, text: str, source: str) -> Skeleton:
        """Parse YAML text: the inverse of `to_yaml`.

        Args:
            text: the YAML document.
            source: name of the text in error messages.

        Raises:
            ValueError: a key is missing or unknown, or a value has a wrong type or contradicts the others.
        """
        return yaml_config.read(cls, text, source)


def _flip_order(names: tuple[str, ...], mirror: Any) -> np.ndarray:
    return np.array([names.index(mirror(name)) for name in names], np.int64)


def _validate(skeleton: Skeleton) -> None:
    """Raise ValueError if the parts of a skeleton are inconsistent."""
    name, joints, annotated = skeleton.name, set(skeleton.joints), set(skeleton.annotated)
    if not annotated:
        raise ValueError(f"skeleton {name!r}: expected at least one annotated joint, got none")
    if len(joints) != len(skeleton.joints) or len(annotated) != len(skeleton.annotated):
        raise ValueError(f"skeleton {name!r}: a joint is listed twice")
    midpoints = {joint for joint, _ in skeleton.midpoints}
    if joints != annotated | midpoints or annotated & midpoints:
        invalid = sorted(joints ^ (annotated | midpoints) | (annotated & midpoints))
        raise ValueError(
            f"skeleton {name!r}: each joint must be either annotated or a midpoint; invalid: {invalid}"
        )
    if len(skeleton.sigmas) != len(annotated) or min(skeleton.sigmas, default=1) <= 0:
        raise ValueError(
            f"skeleton {name!r}: expected {len(annotated)} positive sigmas, got {skeleton.sigmas}"
        )
    network_names = [end for pairs in (skeleton.limbs, skeleton.mirrored) for pair in pairs for end in pair]
    annotated_names = [end for _, ends in skeleton.midpoints for end in ends] + [
        end for bone in skeleton.bones for end in bone
    ]
    unknown = sorted(set(network_names) - joints | set(annotated_names) - annotated)
    if unknown:
        raise ValueError(f"skeleton {name!r}: unknown joints {unknown}")
    limbs = {frozenset(limb) for limb in skeleton.limbs}
    if len(limbs) != len(skeleton.limbs) or any(len(limb) != 2 for limb in limbs):
        raise ValueError(f"skeleton {name!r}: limbs must be unique and connect two different joints")
    paired = [end for pair in skeleton.mirrored for end in pair]
    if len(set(paired)) != len(paired):
        raise ValueError(f"skeleton {name!r}: mirrored: a joint is in more than one pair")
    for limb in skeleton.limbs:
        mirrored = tuple(map(skeleton._mirror_name, limb))
        if frozenset(mirrored) not in limbs:
            raise ValueError(f"skeleton {name!r}: limb {limb} has no mirrored limb {mirrored}")
    disconnected = sorted(joints - _connected_joints(skeleton))
    if disconnected:
        raise ValueError(
            f"skeleton {name!r}: limbs must connect all joints; "
            f"not connected to {skeleton.joints[0]}: {disconnected}"
        )


def _connected_joints(skeleton: Skeleton) -> set[str]:
    """Return the joints that are connected to the first one by limbs, directly or through other joints."""
    connected = set(skeleton.joints[:1])
    while more := {end for limb in skeleton.limbs if connected & {*limb} for end in limb} - connected:
        connected |= more
    return connected


_SIDED = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_COCO_SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
}
_COCO_ANNOTATED = ("nose", *(f"{side}_{part}" for part in _SIDED for side in ("left", "right")))
_COCO_LIMBS = """
neck-nose neck-right_eye neck-left_eye neck-right_ear neck-left_ear nose-right_eye nose-left_eye
right_eye-right_ear left_eye-left_ear neck-right_shoulder right_shoulder-right_elbow
right_elbow-right_wrist neck-left_shoulder left_shoulder-left_elbow left_elbow-left_wrist
neck-right_hip right_hip-right_knee right_knee-right_ankle neck-left_hip left_hip-left_knee
left_knee-left_ankle nose-right_shoulder nose-left_shoulder right_shoulder-right_hip
right_hip-left_knee left_shoulder-left_hip left_hip-right_knee right_ear-right_shoulder
left_ear-left_shoulder right_hip-left_hip
"""
_COCO_BONES = """
nose-left_eye nose-right_eye left_eye-left_ear right_eye-right_ear left_shoulder-right_shoulder
left_shoulder-left_elbow left_elbow-left_wrist right_shoulder-right_elbow right_elbow-right_wrist
left_hip-right_hip left_shoulder-left_hip right_shoulder-right_hip
left_hip-left_knee left_knee-left_ankle right_hip-right_knee right_knee-right_ankle
"""


def _pairs(text: str) -> Pairs:
    return tuple((a, b) for a, b in (pair.split("-") for pair in text.split()))


# COCO's person: 17 annotated keypoints, a neck between the shoulders, 30 limbs (arXiv:1911.10529). The sigmas
# are those of COCO's keypoint evaluation.
COCO = Skeleton(
    name="coco",
    joints=(
        *("nose", "neck"),
        *("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
        *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
        *("right_eye", "left_eye", "right_ear", "left_ear"),
    ),
    limbs=_pairs(_COCO_LIMBS),
    annotated=_COCO_ANNOTATED,
    sigmas=tuple(_COCO_SIGMAS[name.split("_")[-1]] for name in _COCO_ANNOTATED),
    mirrored=tuple((f"right_{part}", f"left_{part}") for part in _SIDED),
    midpoints=(("neck", ("left_shoulder", "right_shoulder")),),
    bones=_pairs(_COCO_BONES),
)


def load(name_or_path: str) -> Skeleton:
    """Load a skeleton.

    Args:
        name_or_path: "coco", or the path of a YAML file, relative to the working directory.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a valid skeleton; names the file.
    """
    if name_or_path == COCO.name:
        return COCO
    path = Path(name_or_path)
    if not path.exists():
        raise FileNotFoundError(
            f"skeleton {name_or_path!r}: expected {COCO.name!r} or the path of a YAML file; "
            f"no file at {path.absolute()}"
        )
    return Skeleton.from_yaml(yaml_config.read_text(path, "a UTF-8 text file"), name_or_path)
