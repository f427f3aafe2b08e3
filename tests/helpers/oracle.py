"""A predictor that knows the answers, to test what stands around a predictor."""

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
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton


def labelled_people(annotations: coco_eval.Annotations, image_id: int, skeleton: Skeleton = COCO) -> People:
    """Everyone with a labelled keypoint, as if found with certainty."""
    persons = annotations.imgToAnns[image_id]
    wanted = [p["keypoints"] for p in persons if p["num_keypoints"] and not p["iscrowd"]]
    keypoints = np.array(wanted, np.float32).reshape(-1, len(skeleton.annotated), 3)
    found = keypoints[..., 2:] > 0
    return People(np.where(found, np.minimum(keypoints, (np.inf, np.inf, 1)), 0), np.ones(len(keypoints)))


@dataclass
class Shown:
    """A picture as it goes through the predictors here."""

    image: np.ndarray

    @property
    def shape(self):
        return self.image.shape


class Answers:
    """A predictor whose subclass says who is in a picture."""

    batch, passes, skeleton, settings = 2, 2, COCO, Settings()
    device = torch.device("cpu")

    def people(self, image: np.ndarray) -> People:
        raise NotImplementedError

    def frame(self, image: np.ndarray) -> Shown:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        return Shown(image)

    def see(self, pictures: list[Shown]) -> list[Shown]:
        return pictures

    def group(self, maps: Shown, picture: Shown) -> People:
        assert maps is picture
        return self.people(maps.image)

    def __call__(self, image: np.ndarray) -> People:
        return self.people(image)


class Oracle(Answers):
    """Answers with the annotated people of the picture it is shown.

    Call `ending` meets `end`; a signal reaches the main thread and not the one that works here.
    """

    batch = passes = 1  # of more, some overtake others, and nobody knows which `ending` meets

    def __init__(
        self,
        annotations_path: Path,
        images: Path,
        ending: int = -1,
        end: Exception | signal.Signals = signal.SIGINT,
        skeleton: Skeleton = COCO,
    ) -> None:
        self.skeleton = skeleton
        annotations = coco_eval.read_annotations(annotations_path, skeleton.annotated)
        self.answers = {}
        for image_id, image in annotations.imgs.items():
            picture = sources.read(images / image["file_name"], upright=False)
            self.answers[picture.tobytes()] = labelled_people(annotations, image_id, skeleton)
        self.calls, self.ending, self.end = 0, ending, end

    def people(self, image: np.ndarray) -> People:
        self.calls += 1
        if self.calls == self.ending:
            if isinstance(self.end, Exception):
                raise self.end
            time.sleep(1)  # what went before is written meanwhile
            _thread.interrupt_main(self.end)
            time.sleep(0.3)
        return self.answers[image.tobytes()]


class Nobody(Answers):
    """Finds nobody."""

    def people(self, image: np.ndarray) -> People:
        return People.nobody(len(COCO.annotated))
