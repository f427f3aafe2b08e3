"""People: shapes, bounding boxes, flipping, and conversion to and from COCO rows."""

import dataclasses
import importlib
import json
import pkgutil
import sys

import numpy as np
import pytest

import simplepose
from simplepose.people import People, boxes_around
from simplepose.skeleton import COCO


@pytest.fixture
def people(rng):
    keypoints = rng.uniform(1, 300, (3, 17, 3)).astype(np.float32)
    keypoints[..., 2] = rng.uniform(0.1, 1, (3, 17))
    keypoints[0, :5] = 0
    keypoints[2] = 0
    return People(keypoints, rng.uniform(size=3))


def test_boxes_contain_only_found_keypoints(people):
    found = people.keypoints[0, 5:, :2]
    assert people.boxes_xyxy.shape == (3, 4)
    assert np.array_equal(people.boxes_xyxy[0], [*found.min(0), *found.max(0)])
    assert not people.boxes_xyxy[2].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_boxes_keep_the_precision_of_the_points(people, dtype):
    xy = people.keypoints[..., :2].astype(dtype) + dtype(1e-9)
    boxes = boxes_around(xy, people.found)
    assert boxes.dtype == dtype
    assert np.array_equal(boxes[0], [*xy[0, 5:].min(0), *xy[0, 5:].max(0)])
    assert not boxes[2].any()
    assert boxes_around(xy[:0], people.found[:0]).shape == (0, 4)
    assert People(people.keypoints, people.scores).boxes_xyxy.dtype == np.float32


def test_empty_people():
    empty = People.empty(17)
    assert len(empty) == 0
    assert empty.boxes_xyxy.shape == (0, 4)
    assert empty.to_coco_rows(7) == []
    assert len(People.from_coco_rows([], 17)) == 0
    assert len(empty.flipped(100, COCO.annotated_flip)) == 0


def test_flipping_twice_changes_nothing(people):
    once = people.flipped(301, COCO.annotated_flip)
    assert np.allclose(once.flipped(301, COCO.annotated_flip).keypoints, people.keypoints)
    left, right = COCO.annotated.index("left_wrist"), COCO.annotated.index("right_wrist")
    assert once.keypoints[1, left, 0] == pytest.approx(300 - people.keypoints[1, right, 0])


def test_coco_rows_survive_json_round_trip(people):
    rows = json.loads(json.dumps(people.to_coco_rows(42)))
    assert {row["image_id"] for row in rows} == {42}
    restored = People.from_coco_rows(rows, 17)
    assert np.allclose(restored.keypoints, people.keypoints, atol=1e-3)
    assert np.allclose(restored.scores, people.scores, atol=1e-4)


@pytest.mark.parametrize("shape", [(17, 3), (2, 17, 2), (3, 17, 3)])
def test_mismatched_shapes_are_rejected(shape):
    with pytest.raises(ValueError, match="People: expected keypoints"):
        People(np.zeros(shape), np.zeros(2))


def test_rows_of_another_skeleton_are_rejected():
    with pytest.raises(ValueError, match="51 keypoint values"):
        People.from_coco_rows([{"keypoints": [0.0] * 42, "score": 1.0}], 17)


def test_dataclasses_with_arrays_compare_by_identity():
    """Comparing arrays gives an array, so a generated __eq__ would raise, and so would __hash__."""
    for module in pkgutil.walk_packages(simplepose.__path__, "simplepose."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    members = [
        c for name, m in sys.modules.items() if name.startswith("simplepose.") for c in vars(m).values()
    ]
    classes = {c for c in members if dataclasses.is_dataclass(c) and isinstance(c, type)}
    arrays = [c for c in classes if any("np.ndarray" in str(f.type) for f in dataclasses.fields(c))]
    assert {"People", "Record", "Sample", "Maps"} <= {c.__name__ for c in arrays}
    assert not [c for c in arrays if c.__eq__ is not object.__eq__]


def test_ids_are_kept_and_validated():
    people = People(np.ones((2, 17, 3)), np.ones(2), np.array([7, 3]))
    assert people.ids.tolist() == [7, 3]
    assert people.flipped(100, np.arange(17)).ids.tolist() == [7, 3]
    with pytest.raises(ValueError, match="ids"):
        People(np.ones((2, 17, 3)), np.ones(2), np.array([7]))
