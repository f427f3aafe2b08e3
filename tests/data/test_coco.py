"""Masks, main persons and people from COCO's annotations: the published values, and the deviations."""

import json
from pathlib import Path

import numpy as np
import pytest
from annotated_images import JOINTS, person, prepare, write_annotated_image

from simplepose.data import coco, coco_images
from simplepose.data.record import NO_PERSON, UnusableImageError


def reference_cases(shared: Path):
    """(case, its annotated image, its image folder) of the reference."""
    annotated_images = {}
    for case in json.loads((shared / "reference/masks_cases.json").read_text()):
        split = case["split"]
        if split not in annotated_images:
            listed = coco.read_annotations(shared / f"minicoco/annotations/person_keypoints_{split}.json")
            annotated_images[split] = {annotated.image_id: annotated for annotated in listed}
        yield case, annotated_images[split][case["image_id"]], shared / "minicoco/images" / split


def summarize_samples(prepared) -> list:
    """The reference values of samples: (box center, box height / 512, number of people)."""
    records = [prepared.record(main) for main in prepared.main_persons]
    return [(list(record.center_xy), record.height / 512, len(record.keypoints)) for record in records]


def expected_samples(case: dict) -> list:
    return [(s["main_person_center"], s["scale_provided"], s["people"]) for s in case["samples"]]


def published_radii(annotated: coco.AnnotatedImage) -> np.ndarray:
    """The published rule: all people have the radius of the image's last annotation."""
    return np.full(
        len(annotated.persons), coco.MIN_MAIN_PERSON_DISTANCE_RATIO * max(annotated.persons[-1]["bbox"][2:])
    )


def test_masks_equal_the_published_ones_exactly(shared):
    packed = np.load(shared / "reference/masks.npz")
    for _, annotated, images in reference_cases(shared):
        prepared = prepare(annotated, images)
        for name in ("miss", "all"):
            mask = getattr(prepared, f"mask_{name}")
            assert set(np.unique(mask)) <= {0, 255}
            assert np.array_equal(np.packbits(mask > 0), packed[f"{annotated.image_id}_{name}"]), (
                annotated.image_id
            )


def test_samples_equal_the_published_ones_except_for_the_stale_box(shared, monkeypatch):
    original = coco.select_main_persons
    differing = 0
    for case, annotated, images in reference_cases(shared):
        expected = expected_samples(case)
        ours = summarize_samples(prepare(annotated, images))
        stale = published_radii(annotated)
        with monkeypatch.context() as patch:
            patch.setattr(coco, "select_main_persons", lambda b, e, radii, stale=stale: original(b, e, stale))
            assert summarize_samples(prepare(annotated, images)) == expected, annotated.image_id
        differing += ours != expected
    assert differing == 5


class TestMainPersons:
    def test_no_people_give_no_main_person(self):
        assert coco.select_main_persons(np.zeros((0, 4)), np.zeros(0, bool), np.zeros(0)) == []

    def test_the_radius_is_that_of_the_earlier_main_person(self, tmp_path):
        small, beside, large = person((0, 0, 10, 20)), person((7, 0, 10, 20)), person((0, 0, 80, 60))
        # 7 px apart: beyond 0.3 * 20 of the small one, within 0.3 * 80 of the last annotation's.
        annotated = write_annotated_image(tmp_path, small, beside, {**large, "keypoints": [0] * 51})
        assert prepare(annotated, tmp_path).main_persons == (0, 1)
        boxes = np.array([p["bbox"] for p in annotated.persons], float)
        assert coco.select_main_persons(boxes, np.array([True, True, False]), published_radii(annotated)) == [
            0
        ]

    @pytest.mark.parametrize(("distance", "expected"), [(5.9, (0,)), (6.0, (0, 1)), (6.1, (0, 1))])
    def test_a_distance_equal_to_the_radius_is_enough(self, tmp_path, distance, expected):
        annotated = write_annotated_image(tmp_path, person((0, 0, 10, 20)), person((distance, 0, 10, 20)))
        assert prepare(annotated, tmp_path).main_persons == expected

    def test_only_main_persons_exclude_others(self, tmp_path):
        annotated = write_annotated_image(
            tmp_path, person(), person(num_labeled=4), person((3, 2, 40, 40)), person((60, 2, 20, 40))
        )
        assert prepare(annotated, tmp_path).main_persons == (0, 3)
        boxes = np.array([[0, 0, 10, 10], [2, 0, 10, 10], [4, 0, 10, 10]], float)
        assert coco.select_main_persons(boxes, np.ones(3, bool), np.full(3, 3.0)) == [0, 2]

    @pytest.mark.parametrize(
        "change",
        [
            {"num_labeled": 4},
            {"area": 1023.9},
            {"iscrowd": 1},
            {"box": (2, 2, 40, 0)},
            {"box": (2, 2, 0, 40)},
        ],
    )
    def test_a_person_below_the_minimums_gives_no_sample(self, tmp_path, change):
        assert prepare(write_annotated_image(tmp_path, person(**change)), tmp_path) is None
        assert (
            prepare(write_annotated_image(tmp_path, person(num_labeled=5, area=1024)), tmp_path) is not None
        )

    def test_an_image_without_annotations_gives_no_sample_and_is_not_read(self, tmp_path):
        assert prepare(coco.AnnotatedImage(1, "absent.jpg", 4, 5, ()), tmp_path) is None


class TestPeople:
    def test_the_main_person_comes_first_then_the_others_in_order(self, tmp_path):
        annotated = write_annotated_image(
            tmp_path,
            person((0, 0, 10, 40), num_labeled=3),
            person((0, 0, 30, 20), num_labeled=0),
            person((40, 0, 20, 40)),
            person((70, 0, 20, 50), num_labeled=6),
            person((0, 0, 90, 60), iscrowd=1),
        )
        prepared = prepare(annotated, tmp_path)
        assert prepared.keypoints.shape == (3, JOINTS, 3)
        assert prepared.keypoints.dtype == np.float32
        first, second = (prepared.record(main) for main in prepared.main_persons)
        assert [int((p[:, 2] > 0).sum()) for p in first.keypoints] == [17, 3, 6]
        assert [int((p[:, 2] > 0).sum()) for p in second.keypoints] == [6, 3, 17]
        assert (second.center_xy, second.height, second.image_id) == ((80.0, 25.0), 50.0, 7)

    def test_an_image_of_one_pixel(self, tmp_path):
        annotated = write_annotated_image(tmp_path, person((0, 0, 1, 1)), size_hw=(1, 1))
        record = prepare(annotated, tmp_path).record(0)
        assert record.image.shape == (1, 1, 3)
        assert record.mask_all.tolist() == [[255]]


class TestMasks:
    left, middle, right = ((4, 0, 20, 60), (14, 0, 20, 60), (50, 0, 30, 60))

    def columns(self, mask: np.ndarray, value: int) -> set[int]:
        """The columns in which a mask of full-height strips has `value`."""
        assert (mask == mask[0]).all()
        return set(np.flatnonzero(mask[0] == value).tolist())

    def masks(self, tmp_path, *persons):
        prepared = prepare(write_annotated_image(tmp_path, *persons), tmp_path)
        return self.columns(prepared.mask_miss, 0), self.columns(prepared.mask_all, 255)

    def test_the_loss_ignores_unlabeled_people_only(self, tmp_path):
        ignored, people = self.masks(tmp_path, person(self.left), person(self.right, num_labeled=0))
        assert ignored == set(range(50, 80))
        assert people == set(range(4, 24)) | ignored

    def test_the_loss_ignores_the_overlap_of_labeled_and_unlabeled_people(self, tmp_path):
        ignored, _ = self.masks(tmp_path, person(self.left), person(self.middle, num_labeled=0))
        assert ignored == set(range(14, 34))

    @pytest.mark.parametrize("crowd_first", [True, False])
    def test_the_loss_ignores_crowd_regions_except_under_people(self, tmp_path, crowd_first):
        annotations = [person(self.left), person(self.middle, num_labeled=0, iscrowd=1)]
        ignored, people = self.masks(tmp_path, *annotations[:: -1 if crowd_first else 1])
        assert ignored == set(range(24, 34))
        assert people == set(range(4, 34))

    def test_two_crowd_regions_are_accepted(self, tmp_path):
        crowds = [person(box, num_labeled=0, iscrowd=1) for box in (self.middle, self.right)]
        ignored, people = self.masks(tmp_path, person(self.left), *crowds)
        assert ignored == set(range(24, 34)) | set(range(50, 80))
        assert people == set(range(4, 34)) | set(range(50, 80))

    @pytest.mark.parametrize("segmentation", [[], None, [[1, 1, 9, 9]]])
    def test_without_an_outline_the_box_is_the_mask(self, tmp_path, segmentation):
        ignored, _ = self.masks(
            tmp_path, person(self.left), person(self.right, num_labeled=0, segmentation=segmentation)
        )
        assert ignored == set(range(50, 80))


class TestNegatives:
    def test_an_image_without_people_gives_a_sample_if_negatives_are_requested(self, tmp_path):
        annotated = write_annotated_image(tmp_path, size_hw=(60, 90))
        assert prepare(annotated, tmp_path) is None
        prepared = prepare(annotated, tmp_path, negatives=True)
        assert prepared.main_persons == (NO_PERSON,)
        record = prepared.record(NO_PERSON)
        assert record.keypoints.shape == (0, JOINTS, 3)
        assert (record.mask_miss == 255).all()
        assert not record.mask_all.any()
        assert (record.center_xy, record.height) == ((44.5, 29.5), pytest.approx(36))

    @pytest.mark.parametrize("change", [{"num_labeled": 0}, {"num_labeled": 4}, {"iscrowd": 1}])
    def test_an_image_with_unlabeled_people_is_not_a_negative(self, tmp_path, change):
        assert prepare(write_annotated_image(tmp_path, person(**change)), tmp_path, negatives=True) is None


def test_the_folders_are_searched_in_order(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    annotated = write_annotated_image(tmp_path / "there", person())
    persons = coco.parse_persons(annotated, JOINTS)
    folders = [tmp_path / "here", tmp_path / "there"]
    found = [coco_images.prepare_image(annotated, persons, order) for order in (folders, folders[::-1])]
    assert found[0].encoded == found[1].encoded
    write_annotated_image(tmp_path / "here", person(), size_hw=(61, 90))
    assert coco_images.prepare_image(annotated, persons, folders[::-1]).image.shape == (60, 90, 3)
    with pytest.raises(UnusableImageError, match="another size"):
        coco_images.prepare_image(annotated, persons, folders)


def test_other_annotated_joints_are_supported(tmp_path):
    annotated = write_annotated_image(tmp_path, {**person(), "keypoints": [5, 5, 2] * 14})
    persons = coco.parse_persons(annotated, 14)
    assert coco_images.prepare_image(annotated, persons, [tmp_path]).keypoints.shape == (1, 14, 3)
    with pytest.raises(UnusableImageError, match="annotations malformed"):
        coco.parse_persons(annotated, JOINTS)
