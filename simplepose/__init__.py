"""SimplePose: bottom-up multi-person pose estimation.

    predictor = simplepose.load("imhn_mobile")
    people = predictor(cv2.imread("image.jpg"))
    people.keypoints  # (P, 17, 3): x, y in image pixels, score

Dimensions in the docstrings: N batch, S stacks, P people, J network joints, A annotated
joints, L limbs, C channels, H W image, h w maps. Images are H x W x 3 uint8, BGR.
"""

from simplepose.inference.predictor import Predictor
from simplepose.inference.topdown import load
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton

__version__ = "0.1.0"

__all__ = ["COCO", "People", "Predictor", "Skeleton", "load"]
