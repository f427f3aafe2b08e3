"""A predictor that knows the answers, to test what stands around a predictor."""

from pathlib import Path

import numpy as np

from simplepose.evaluation import coco
from simplepose.inference import sources
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton


def labelled_people(annotations: coco.Annotations, image_id: int, skeleton: Skeleton = COCO) -> People:
    """Everyone with a labelled keypoint, as if found with certainty."""
    persons = annotations.imgToAnns[image_id]
    wanted = [p["keypoints"] for p in persons if p["num_keypoints"] and not p["iscrowd"]]
    keypoints = np.array(wanted, np.float32).reshape(-1, len(skeleton.annotated), 3)
    found = keypoints[..., 2:] > 0
    return People(np.where(found, np.minimum(keypoints, (np.inf, np.inf, 1)), 0), np.ones(len(keypoints)))


class Oracle:
    """Answers with the annotated people of the picture it is shown; call `ending` meets `end` (Ctrl-C)."""

    def __init__(
        self,
        annotations_path: Path,
        images: Path,
        ending: int = -1,
        end: BaseException | None = None,
        skeleton: Skeleton = COCO,
    ) -> None:
        self.skeleton = skeleton
        annotations = coco.read_annotations(annotations_path, skeleton.annotated)
        self.answers = {}
        for image_id, image in annotations.imgs.items():
            picture = sources.read(images / image["file_name"], upright=False)
            self.answers[picture.tobytes()] = labelled_people(annotations, image_id, skeleton)
        self.calls, self.ending, self.end = 0, ending, end or KeyboardInterrupt()

    def __call__(self, image: np.ndarray) -> People:
        self.calls += 1
        if self.calls == self.ending:
            raise self.end
        return self.answers[image.tobytes()]


class Nobody:
    """Finds nobody."""

    skeleton = COCO

    def __call__(self, image: np.ndarray) -> People:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        return People.nobody(len(COCO.annotated))
