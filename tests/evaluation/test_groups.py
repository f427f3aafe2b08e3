"""AP by crowding and by person size, and the balanced subset of images."""

import numpy as np
import pytest
from planted_errors import mixed_rows, perfect_rows, write_annotations

from simplepose.evaluation import coco_eval


@pytest.fixture
def truth(tmp_path):
    """Annotations of 60 images with two people each; the second has no keypoints in the first 20."""
    truth = write_annotations(tmp_path / "person_keypoints.json")
    for image_id in range(1, 21):
        truth.imgToAnns[image_id][1].update(keypoints=[0] * 51, num_keypoints=0)
    return truth


def box_overlap(people):
    """The intersection over union of two boxes, in plain Python."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = (person["bbox"] for person in people)
    width, height = min(ax + aw, bx + bw) - max(ax, bx), min(ay + ah, by + bh) - max(ay, by)
    common = max(0, width) * max(0, height)
    return common / (aw * ah + bw * bh - common)


def test_ap_of_a_group_of_images_is_the_ap_of_these_images_alone(truth):
    rows = mixed_rows(truth)
    groups = coco_eval.evaluate_groups(truth, rows)
    members = {"1": range(1, 21), "2-4": range(21, 61)}
    assert groups["people_in_image"].keys() == members.keys()
    for name, image_ids in members.items():
        own_rows = [row for row in rows if row["image_id"] in image_ids]
        expected = coco_eval.evaluate_rows(truth, own_rows, image_ids)
        assert {key: groups["people_in_image"][name][key] for key in ("AP", "AP50", "AR")} == {
            key: expected[key] for key in ("AP", "AP50", "AR")
        }
    assert [group["people"] for group in groups["people_in_image"].values()] == [20, 80]


def test_overlap_is_that_of_the_two_boxes(truth):
    ids = range(21, 61)
    overlaps = [box_overlap(truth.imgToAnns[image_id]) for image_id in ids]
    groups = coco_eval.evaluate_groups(truth, perfect_rows(truth), ids)["box_overlap"]
    counts, _ = np.histogram(overlaps, [0, 0.1, 0.3, 0.5, 1])
    assert counts[0]
    assert counts[1]
    found = [groups.get(name, {"people": 0})["people"] for name in coco_eval.GROUPS["box_overlap"]]
    assert found == (2 * counts).tolist()


def test_errors_of_large_people_lower_the_ap_of_large_people_only(truth):
    rows = perfect_rows(truth)
    for row, person in zip(rows, truth.anns.values(), strict=True):
        if person["area"] > 192**2:
            row["keypoints"] = [value + 5000 for value in row["keypoints"]]
    sizes = coco_eval.evaluate_groups(truth, rows)["person_size"]
    assert set(sizes) == {"64-96", "96-192", "192+"}
    assert sizes["192+"]["AR"] == 0
    assert sizes["64-96"]["AR"] == sizes["96-192"]["AR"] == 1
    assert sum(group["people"] for group in sizes.values()) == 100


def test_groups_without_people_are_left_out(truth):
    groups = coco_eval.evaluate_groups(truth, [], [1, 2])
    assert groups["people_in_image"] == {"1": {"people": 2, "AP": 0, "AP50": 0, "AR": 0}}
    truth.imgToAnns[1][0]["num_keypoints"] = 0
    assert coco_eval.evaluate_groups(truth, [], [1]) == {
        "people_in_image": {},
        "box_overlap": {},
        "person_size": {},
    }


def test_the_table_has_a_line_for_each_group(truth):
    rows = [row for row in perfect_rows(truth) if any(row["keypoints"])]
    groups = coco_eval.evaluate_groups(truth, rows)
    lines = coco_eval.format_groups(groups).splitlines()
    assert len(lines) == 1 + sum(map(len, groups.values()))
    assert lines[1].split() == ["people", "in", "image", "1", "20", *3 * ["1.000"]]
    assert lines[2].split() == ["2-4", "80", *3 * ["1.000"]]


# The subset


def number_of_people(truth, image_ids):
    return [len(coco_eval.annotated_people(truth, image_id)) for image_id in image_ids]


def test_a_subset_has_the_mix_of_the_whole(truth):
    """20 images of one person and 40 of two."""
    for size in (3, 6, 15, 30):
        subset = coco_eval.choose_subset(truth, range(1, 61), size)
        assert len(set(subset)) == size
        assert number_of_people(truth, subset).count(1) == size // 3


def test_a_subset_depends_on_the_images_only(truth):
    subset = coco_eval.choose_subset(truth, range(1, 61), 10)
    assert subset == coco_eval.choose_subset(truth, range(1, 61), 10)
    assert subset == sorted(subset)
    assert set(coco_eval.choose_subset(truth, range(60, 0, -1), 10)) == set(subset)
    assert subset != list(range(subset[0], subset[0] + 10)), "not the first images of each number of people"


def test_a_large_subset_is_the_whole(truth):
    assert coco_eval.choose_subset(truth, [3, 1, 2], 3) == [3, 1, 2]
    assert coco_eval.choose_subset(truth, [3, 1, 2], 100) == [3, 1, 2]
    assert coco_eval.choose_subset(truth, [], 5) == []
