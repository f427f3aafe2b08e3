"""Results in COCO's format: the best people of an image, and what is valid but probably wrong."""

import pytest
from planted_errors import perfect_rows, write_annotations

from simplepose.evaluation import coco_eval, result_file


@pytest.fixture
def truth(tmp_path):
    return write_annotations(tmp_path / "person_keypoints.json")


def test_the_best_rows_are_those_that_pycocotools_counts(truth):
    """Annotations as results, and worse people: many in each image, some with equal scores."""
    rows = perfect_rows(truth)
    for row in list(rows):
        for number in range(15):
            shifted = [value + 3 * number for value in row["keypoints"]]
            rows.append({**row, "keypoints": shifted, "score": 0.4 + (number % 4) / 10})
    best = result_file.best_rows(rows)
    assert {row["image_id"] for row in best} == set(truth.imgs)
    assert len(best) == coco_eval.MAX_PEOPLE * len(truth.imgs)
    assert coco_eval.evaluate_rows(truth, best) == coco_eval.evaluate_rows(truth, rows)
    assert result_file.best_rows(best) == best, "in the order of the rows"


def test_good_results_are_described_in_one_line(truth):
    lines = result_file.describe_rows(perfect_rows(truth), truth, 60)
    assert lines == ["120 people in 60 of 60 images, at most 2 in an image; scores 0.501 to 0.62"]
    assert result_file.describe_rows([], truth, 60)[0].startswith("0 people in 0 of 60 images")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index, row: {"score": 2 * row["score"]}, "scores outside [0, 1]; COCO uses only their order"),
        (lambda index, row: {"score": 0.5}, "all people have the same score"),
        (
            lambda index, row: {"image_id": 1 + index // 30},
            "4 images with more than 20 people; COCO counts the 20 best",
        ),
        (
            lambda index, row: {"keypoints": [5000.0] * 51} if index in (3, 4) else {},
            "2 people without a keypoint inside their image (the first in image 2)",
        ),
    ],
)
def test_oddities_are_described(truth, change, message):
    rows = [{**row, **change(index, row)} for index, row in enumerate(perfect_rows(truth))]
    lines = result_file.describe_rows(rows, truth, 60)
    assert len(lines) == 2
    assert lines[1].startswith(message)


def test_an_image_without_a_size_limits_no_keypoint(truth):
    for entry in truth.imgs.values():
        entry.pop("width")
    rows = [{**row, "keypoints": [5000.0] * 51} for row in perfect_rows(truth)]
    assert len(result_file.describe_rows(rows, truth, 60)) == 1
