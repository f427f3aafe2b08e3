"""Person detectors for top-down pose estimation: a frame -> the boxes of its people.

A detector is a bottom-up network of this project, a network of torchvision, or a file of detections.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from simplepose import coco_json
from simplepose.config import TopDownSettings
from simplepose.frames import Frame
from simplepose.inference.concurrency import max_concurrent_forwards
from simplepose.inference.predictor import Predictor, find_model
from simplepose.inference.preprocess import ModelInput
from simplepose.people import PERSON_CATEGORY_ID
from simplepose.skeleton import Skeleton
from simplepose.utils.files import check_regular_file

logger = logging.getLogger(__name__)

# Networks of torchvision.models.detection whose weights know COCO's person, class 1.
TORCHVISION_DETECTORS = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
)
PERSON_LABEL = 1
COCO_CLASSES = 91

# After the name of a torchvision network: load its weights from torchvision's server.
DOWNLOAD = "download"


@dataclass(frozen=True, eq=False)
class Detections:
    """The people that a detector found in an image, best first.

    Attributes:
        boxes_xyxy: (P, 4) float64 left, top, right, bottom, image pixels with pixel centers at integers.
        scores: (P,) float64 confidence of each.
        poses: (P, J, 3) keypoints of each, as those of `People`; None: the detector finds boxes only.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    poses: np.ndarray | None = None

    def __getitem__(self, rows: np.ndarray) -> Detections:
        """Return the detections of an index or mask, in its order."""
        poses = None if self.poses is None else self.poses[rows]
        return Detections(self.boxes_xyxy[rows], self.scores[rows], poses)

    def select(self, settings: TopDownSettings) -> Detections:
        """Select the detections with a sufficient score, best first, at most `max_people`."""
        order = np.argsort(-self.scores, kind="stable")
        return self[order[self.scores[order] >= settings.min_box_score][: settings.max_people]]


class Detector(Protocol):
    """Finds the boxes of people in three steps, as `Predictor` finds people.

    Attributes:
        device: where it runs.
        batch: maximum number of frames in a batch.
        max_concurrent_forwards: number of concurrent calls of `infer` with the highest throughput.
        skeleton: of the poses of its detections; None: it finds boxes only.
    """

    device: torch.device
    batch: int
    max_concurrent_forwards: int
    skeleton: Skeleton | None

    def preprocess_frame(self, frame: Frame) -> Any:
        """Prepare a frame; inputs with an equal `shape` can share a batch."""

    def infer(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Run the network on a batch of prepared frames."""

    def detect(self, output: Any, model_input: Any) -> Detections:
        """Convert one output of `infer`, and the frame's input, to detections."""


class BottomUpDetector:
    """Boxes around the people that a bottom-up network finds, and their poses.

    Args:
        predictor: the network. Boxes of found keypoints are enlarged, because heads and feet extend beyond
            their keypoints.
        margin: fraction of the longer side of the keypoints' box that is added on each side.
    """

    def __init__(self, predictor: Predictor, margin: float) -> None:
        self._predictor, self._margin = predictor, margin
        self.device, self.batch = predictor.device, predictor.batch
        self.max_concurrent_forwards = predictor.max_concurrent_forwards
        self.skeleton: Skeleton | None = predictor.skeleton

    def preprocess_frame(self, frame: Frame) -> ModelInput:
        """See `Detector`."""
        return self._predictor.preprocess_frame(frame)

    def infer(self, inputs: Sequence[ModelInput]) -> list[Tensor]:
        """See `Detector`."""
        return self._predictor.infer(inputs)

    def detect(self, output: Tensor, model_input: ModelInput) -> Detections:
        """See `Detector`."""
        people = self._predictor.group(output, model_input)
        boxes = people.boxes_xyxy.astype(np.float64)
        sides = boxes[:, 2:] - boxes[:, :2]
        margins = self._margin * sides.max(1, initial=0, keepdims=True)
        grown = np.concatenate([boxes[:, :2] - margins, boxes[:, 2:] + margins], 1)
        return Detections(grown, people.scores.astype(np.float64), people.keypoints)


@dataclass(frozen=True, eq=False)
class _ImageInput:
    image: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape


class TorchvisionDetector:
    """A detection network of torchvision.

    Args:
        name: one of TORCHVISION_DETECTORS.
        weights: a file with its state dict; None: torchvision downloads its weights, or uses those that it
            has downloaded before.
        device: where it runs.

    Raises:
        ValueError: torchvision is not installed or too old, or the file has other weights.
        FileNotFoundError: the file does not exist.
    """

    def __init__(self, name: str, weights: Path | None, device: torch.device) -> None:
        try:
            models = importlib.import_module("torchvision.models")
        except (ImportError, RuntimeError) as error:
            raise ValueError(
                f"detector {name}: torchvision cannot be imported ({error}); install the version that "
                f"belongs to torch {torch.__version__}, or use --detector imhn_mobile"
            ) from error
        if weights is None:
            network = models.get_model(name, weights="DEFAULT")
        else:
            network = models.get_model(name, weights=None, weights_backbone=None, num_classes=COCO_CLASSES)
            _load_state(network, weights)
        self._network = network.to(device).eval()
        self.device, self.batch = device, 8 if device.type == "cuda" else 1
        self.max_concurrent_forwards = max_concurrent_forwards(device)
        self.skeleton: Skeleton | None = None

    def preprocess_frame(self, frame: Frame) -> _ImageInput:
        """See `Detector`."""
        return _ImageInput(frame.image)

    @torch.inference_mode()
    def infer(self, inputs: Sequence[_ImageInput]) -> list[Detections]:
        """See `Detector`. The network resizes and normalizes the images; it takes RGB in [0, 1]."""
        images = [
            torch.from_numpy(np.ascontiguousarray(item.image[..., ::-1])).to(self.device).permute(2, 0, 1)
            / 255
            for item in inputs
        ]
        return [_people_of(output) for output in self._network(images)]

    def detect(self, output: Detections, model_input: _ImageInput) -> Detections:
        """See `Detector`."""
        return output


def _people_of(output: dict[str, Tensor]) -> Detections:
    """Select the people of a torchvision output. Its boxes have the corners of pixels at integers."""
    is_person = output["labels"] == PERSON_LABEL
    boxes = output["boxes"][is_person].double().cpu().numpy() - 0.5
    return Detections(boxes, output["scores"][is_person].double().cpu().numpy())


def _load_state(network: torch.nn.Module, path: Path) -> None:
    check_regular_file(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except Exception as error:
        line = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: expected the weights of {type(network).__name__}: {line}") from error


class FileDetector:
    """Detections from a json in COCO's result format.

    Each entry has image_id (the number of COCO's image, or the name of the image file), category_id, bbox
    (left, top, width, height, corners of pixels at integers) and score. Entries of other categories are left
    out.

    Args:
        path: of the json.

    Attributes:
        image_ids: name of an image -> its COCO id. An image without an id is looked up by its name, and by
            the number in it, which is the id of COCO's own images.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no such json; names the entry.
    """

    batch = 1
    max_concurrent_forwards = 1
    device = torch.device("cpu")
    skeleton: Skeleton | None = None

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._detections = read_detections(path)
        self.image_ids: Mapping[str, int] = {}
        self._warned = False

    def preprocess_frame(self, frame: Frame) -> Detections:
        """See `Detector`."""
        number = Path(frame.name).stem.lstrip("0") or "0"
        for key in (str(self.image_ids.get(frame.name, "")), frame.name, number):
            if key in self._detections:
                return self._detections[key]
        if not self._warned:
            self._warned = True
            logger.warning("%s: no detections of image %s, and perhaps of others", self._path, frame.name)
        return Detections(np.zeros((0, 4)), np.zeros(0))

    def infer(self, inputs: Sequence[Detections]) -> Sequence[Detections]:
        """See `Detector`."""
        return inputs

    def detect(self, output: Detections, model_input: Detections) -> Detections:
        """See `Detector`."""
        return output


def read_detections(path: str | Path) -> dict[str, Detections]:
    """Read a json in COCO's result format; image id as text -> its people.

    Raises:
        FileNotFoundError, ValueError: see `FileDetector`.
    """
    entries = coco_json.load_json(Path(path), "expected a list of detections in COCO's result format")
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a list of detections, got {type(entries).__name__}")
    rows: dict[str, list[list[float]]] = {}
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and entry.get("category_id", PERSON_CATEGORY_ID) != PERSON_CATEGORY_ID:
            continue
        image_id, values = _parse_entry(entry, f"{path}: detection {index}")
        rows.setdefault(image_id, []).append(values)
    return {image_id: _from_rows(np.array(values)) for image_id, values in rows.items()}


def _parse_entry(entry: Any, where: str) -> tuple[str, list[float]]:
    """Return the image id, and left, top, width, height and score of an entry."""
    if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), int | str):
        raise ValueError(
            f"{where}: expected an object with an image_id, a bbox and a score, got {entry!r:.100}"
        )
    box = entry.get("bbox")
    values = [*box, entry.get("score")] if isinstance(box, list) else []
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(values) != 5 or len(numbers) != 5 or not np.isfinite(np.array(numbers, float)).all():
        raise ValueError(
            f"{where} of image {entry['image_id']!r:.100}: expected bbox as 4 finite numbers and a score, "
            f"got {box!r:.100} and {entry.get('score')!r:.100}"
        )
    return str(entry["image_id"]), list(map(float, numbers))


def _from_rows(rows: np.ndarray) -> Detections:
    boxes = rows[:, :4].copy()
    boxes[:, 2:] += boxes[:, :2]
    return Detections(boxes - 0.5, rows[:, 4])


def open_detector(
    name: str, load_predictor: Callable[[str], Predictor], device: torch.device, settings: TopDownSettings
) -> Detector:
    """Open a detector by name.

    Args:
        name: a bottom-up model (name or path); a network of torchvision with its weights, "NAME:FILE" or
            "NAME:download"; or a json of detections.
        load_predictor: loads a bottom-up model.
        device: where a network runs.
        settings: of the top-down predictor.

    Raises:
        FileNotFoundError, ValueError: the detector does not exist or is invalid.
    """
    network, _, weights = name.partition(":")
    if network in TORCHVISION_DETECTORS:
        if not weights:
            raise ValueError(
                f"--detector {name}: expected its weights, {network}:FILE.pth, or {network}:{DOWNLOAD} to "
                "let torchvision download them"
            )
        return TorchvisionDetector(network, None if weights == DOWNLOAD else Path(weights), device)
    if name.lower().endswith(".json"):
        return FileDetector(name)
    return BottomUpDetector(load_predictor(name), settings.box_margin)


def find_detector_file(name: str) -> Path:
    """Return the file of a detector that `open_detector` has opened: its network, weights or detections."""
    network, _, weights = name.partition(":")
    if network not in TORCHVISION_DETECTORS:
        return Path(name) if name.lower().endswith(".json") else find_model(name)
    if weights != DOWNLOAD:
        return Path(weights)
    url = importlib.import_module("torchvision.models").get_model_weights(network).DEFAULT.url
    return Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
