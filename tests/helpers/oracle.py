"""Predictors that know the answers, to test the code around a predictor."""

import _thread
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from simplepose import sources
from simplepose.config import Settings
from simplepose.evaluation import coco_eval
from simplepose.frames import Frame
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton


def labeled_people(annotations: coco_eval.Annotations, image_id: int, skeleton: Skeleton = COCO) -> People:
    """Return all people with a labeled keypoint, as detections with score 1."""
    persons = annotations.imgToAnns[image_id]
    rows = [p["keypoints"] for p in persons if p["num_keypoints"] and not p["iscrowd"]]
    keypoints = np.array(rows, np.float32).reshape(-1, len(skeleton.annotated), 3)
    found = keypoints[..., 2:] > 0
    return People(np.where(found, np.minimum(keypoints, (np.inf, np.inf, 1)), 0), np.ones(len(keypoints)))


@dataclass
class FakeModelInput:
    """An image in place of a model input."""

    image: np.ndarray

    @property
    def shape(self):
        return self.image.shape


class FakePredictor:
    """A predictor whose subclass returns the people of an image."""

    batch, max_concurrent_forwards, skeleton, settings = 2, 2, COCO, Settings()
    device = torch.device("cpu")

    def people(self, image: np.ndarray) -> People:
        raise NotImplementedError

    def preprocess_frame(self, frame: Frame) -> FakeModelInput:
        image = frame.image
        assert image.dtype == np.uint8
        assert image.ndim == 3
        return FakeModelInput(image)

    def infer(self, inputs: list[FakeModelInput]) -> list[FakeModelInput]:
        return inputs

    def group(self, maps: FakeModelInput, model_input: FakeModelInput) -> People:
        assert maps is model_input
        return self.people(maps.image)

    def __call__(self, image: np.ndarray) -> People:
        return self.people(image)


class Oracle(FakePredictor):
    """Returns the annotated people of each image.

    Call number `interrupt_at_call` raises `interruption`. If that is a signal, it goes to the main thread,
    not to the thread that calls.
    """

    batch = max_concurrent_forwards = 1  # with more, the images of the calls are in no fixed order

    def __init__(
        self,
        annotations_path: Path,
        images: Path,
        interrupt_at_call: int = -1,
        interruption: Exception | signal.Signals = signal.SIGINT,
        skeleton: Skeleton = COCO,
    ) -> None:
        self.skeleton = skeleton
        annotations = coco_eval.read_annotations(annotations_path, skeleton.annotated)
        self.answers = {}
        for image_id, entry in annotations.imgs.items():
            image = sources.read_image(images / entry["file_name"], upright=False)
            self.answers[image.tobytes()] = labeled_people(annotations, image_id, skeleton)
        self.calls, self.interrupt_at_call, self.interruption = 0, interrupt_at_call, interruption

    def people(self, image: np.ndarray) -> People:
        self.calls += 1
        if self.calls == self.interrupt_at_call:
            if isinstance(self.interruption, Exception):
                raise self.interruption
            time.sleep(1)  # the earlier results are written meanwhile
            _thread.interrupt_main(self.interruption)
            time.sleep(0.3)
        return self.answers[image.tobytes()]


class NoPeoplePredictor(FakePredictor):
    """Finds no people."""

    def people(self, image: np.ndarray) -> People:
        return People.empty(len(COCO.annotated))
