"""COCO's annotations -> masks, main persons, people: the published values, and the deviations."""

import json
from pathlib import Path

import numpy as np
import pytest
from annotated import JOINTS, person, picture_of, prepare

from simplepose.data import coco, coco_images
from simplepose.data.record import NOBODY, PictureFault


def reference_cases(shared: Path):
    """(case, its annotated picture, its folder of pictures) of the reference."""
    pictures = {}
    for case in json.loads((shared / "reference/masks_cases.json").read_text()):
        split = case["split"]
        if split not in pictures:
            listed = coco.read_annotations(shared / f"minicoco/annotations/person_keypoints_{split}.json")
            pictures[split] = {picture.image_id: picture for picture in listed}
        yield case, pictures[split][case["image_id"]], shared / "minicoco/images" / split


def samples_of(prepared) -> list:
    """What the reference says of samples: (box centre, box height / 512, number of people)."""
    records = [prepared.record(main) for main in prepared.main_persons]
    return [(list(record.center_xy), record.height / 512, len(record.keypoints)) for record in records]


def expected_samples(case: dict) -> list:
    return [(s["main_person_center"], s["scale_provided"], s["people"]) for s in case["samples"]]


def published_reach(picture: coco.AnnotatedPicture) -> np.ndarray:
    """The published rule: everybody has the reach of the picture's last annotation."""
    return np.full(len(picture.persons), coco.MAIN_PERSON_DISTANCE * max(picture.persons[-1]["bbox"][2:]))


def test_masks_equal_the_published_ones_bit_for_bit(shared):
    packed = np.load(shared / "reference/masks.npz")
    for _, picture, images in reference_cases(shared):
        prepared = prepare(picture, images)
        for name in ("miss", "all"):
            mask = getattr(prepared, f"mask_{name}")
            assert set(np.unique(mask)) <= {0, 255}
            assert np.array_equal(np.packbits(mask > 0), packed[f"{picture.image_id}_{name}"]), (
                picture.image_id
            )


def test_samples_equal_the_published_ones_but_for_the_stale_box(shared, monkeypatch):
    own_rule = coco.choose_main_persons
    differing = 0
    for case, picture, images in reference_cases(shared):
        expected = expected_samples(case)
        ours = samples_of(prepare(picture, images))
        stale = published_reach(picture)
        with monkeypatch.context() as patch:
            patch.setattr(coco, "choose_main_persons", lambda b, e, reach, stale=stale: own_rule(b, e, stale))
            assert samples_of(prepare(picture, images)) == expected, picture.image_id
        differing += ours != expected
    assert differing == 5


class TestMainPersons:
    def test_nobody_gives_nobody(self):
        assert coco.choose_main_persons(np.zeros((0, 4)), np.zeros(0, bool), np.zeros(0)) == []

    def test_the_reach_is_that_of_the_earlier_main_person(self, tmp_path):
        small, beside, large = person((0, 0, 10, 20)), person((7, 0, 10, 20)), person((0, 0, 80, 60))
        # 7 px apart: beyond 0.3 * 20 of the small one, within 0.3 * 80 of the last annotation's.
        picture = picture_of(tmp_path, small, beside, {**large, "keypoints": [0] * 51})
        assert prepare(picture, tmp_path).main_persons == (0, 1)
        boxes = np.array([p["bbox"] for p in picture.persons], float)
        assert coco.choose_main_persons(boxes, np.array([True, True, False]), published_reach(picture)) == [0]

    @pytest.mark.parametrize(("distance", "expected"), [(5.9, (0,)), (6.0, (0, 1)), (6.1, (0, 1))])
    def test_not_closer_than_the_reach_is_far_enough(self, tmp_path, distance, expected):
        picture = picture_of(tmp_path, person((0, 0, 10, 20)), person((distance, 0, 10, 20)))
        assert prepare(picture, tmp_path).main_persons == expected

    def test_one_who_is_no_main_person_keeps_nobody_away(self, tmp_path):
        picture = picture_of(
            tmp_path, person(), person(labelled=4), person((3, 2, 40, 40)), person((60, 2, 20, 40))
        )
        assert prepare(picture, tmp_path).main_persons == (0, 3)
        boxes = np.array([[0, 0, 10, 10], [2, 0, 10, 10], [4, 0, 10, 10]], float)
        assert coco.choose_main_persons(boxes, np.ones(3, bool), np.full(3, 3.0)) == [0, 2]

    @pytest.mark.parametrize(
        "change",
        [{"labelled": 4}, {"area": 1023.9}, {"iscrowd": 1}, {"box": (2, 2, 40, 0)}, {"box": (2, 2, 0, 40)}],
    )
    def test_too_little_of_a_person_gives_no_sample(self, tmp_path, change):
        assert prepare(picture_of(tmp_path, person(**change)), tmp_path) is None
        assert prepare(picture_of(tmp_path, person(labelled=5, area=1024)), tmp_path) is not None

    def test_a_picture_without_annotations_gives_none_and_is_not_read(self, tmp_path):
        assert prepare(coco.AnnotatedPicture(1, "absent.jpg", 4, 5, ()), tmp_path) is None


class TestPeople:
    def test_main_person_first_then_the_others_in_order(self, tmp_path):
        picture = picture_of(
            tmp_path,
            person((0, 0, 10, 40), labelled=3),
            person((0, 0, 30, 20), labelled=0),
            person((40, 0, 20, 40)),
            person((70, 0, 20, 50), labelled=6),
            person((0, 0, 90, 60), iscrowd=1),
        )
        prepared = prepare(picture, tmp_path)
        assert prepared.keypoints.shape == (3, JOINTS, 3)
        assert prepared.keypoints.dtype == np.float32
        first, second = (prepared.record(main) for main in prepared.main_persons)
        assert [int((p[:, 2] > 0).sum()) for p in first.keypoints] == [17, 3, 6]
        assert [int((p[:, 2] > 0).sum()) for p in second.keypoints] == [6, 3, 17]
        assert (second.center_xy, second.height, second.image_id) == ((80.0, 25.0), 50.0, 7)

    def test_a_picture_of_one_pixel(self, tmp_path):
        picture = picture_of(tmp_path, person((0, 0, 1, 1)), size_hw=(1, 1))
        record = prepare(picture, tmp_path).record(0)
        assert record.image.shape == (1, 1, 3)
        assert record.mask_all.tolist() == [[255]]


class TestMasks:
    left, middle, right = ((4, 0, 20, 60), (14, 0, 20, 60), (50, 0, 30, 60))

    def columns(self, mask: np.ndarray, value: int) -> set[int]:
        """Where a mask of full-height strips has `value`."""
        assert (mask == mask[0]).all()
        return set(np.flatnonzero(mask[0] == value).tolist())

    def masks(self, tmp_path, *persons):
        prepared = prepare(picture_of(tmp_path, *persons), tmp_path)
        return self.columns(prepared.mask_miss, 0), self.columns(prepared.mask_all, 255)

    def test_labelled_people_are_seen_and_unlabelled_are_not(self, tmp_path):
        unseen, people = self.masks(tmp_path, person(self.left), person(self.right, labelled=0))
        assert unseen == set(range(50, 80))
        assert people == set(range(4, 24)) | unseen

    def test_an_unlabelled_person_hides_the_part_of_a_labelled_one_too(self, tmp_path):
        unseen, _ = self.masks(tmp_path, person(self.left), person(self.middle, labelled=0))
        assert unseen == set(range(14, 34))

    @pytest.mark.parametrize("crowd_first", [True, False])
    def test_a_crowd_region_hides_only_what_no_person_covers(self, tmp_path, crowd_first):
        annotations = [person(self.left), person(self.middle, labelled=0, iscrowd=1)]
        unseen, people = self.masks(tmp_path, *annotations[:: -1 if crowd_first else 1])
        assert unseen == set(range(24, 34))
        assert people == set(range(4, 34))

    def test_two_crowd_regions_are_accepted(self, tmp_path):
        crowds = [person(box, labelled=0, iscrowd=1) for box in (self.middle, self.right)]
        unseen, people = self.masks(tmp_path, person(self.left), *crowds)
        assert unseen == set(range(24, 34)) | set(range(50, 80))
        assert people == set(range(4, 34)) | set(range(50, 80))

    @pytest.mark.parametrize("segmentation", [[], None, [[1, 1, 9, 9]]])
    def test_without_an_outline_the_box_stands_in(self, tmp_path, segmentation):
        unseen, _ = self.masks(
            tmp_path, person(self.left), person(self.right, labelled=0, segmentation=segmentation)
        )
        assert unseen == set(range(50, 80))


class TestNegatives:
    def test_a_picture_of_nobody_gives_a_sample_where_it_is_asked_for(self, tmp_path):
        picture = picture_of(tmp_path, size_hw=(60, 90))
        assert prepare(picture, tmp_path) is None
        prepared = prepare(picture, tmp_path, negatives=True)
        assert prepared.main_persons == (NOBODY,)
        record = prepared.record(NOBODY)
        assert record.keypoints.shape == (0, JOINTS, 3)
        assert (record.mask_miss == 255).all()
        assert not record.mask_all.any()
        assert (record.center_xy, record.height) == ((44.5, 29.5), pytest.approx(36))

    @pytest.mark.parametrize("change", [{"labelled": 0}, {"labelled": 4}, {"iscrowd": 1}])
    def test_somebody_unlabelled_is_not_nobody(self, tmp_path, change):
        assert prepare(picture_of(tmp_path, person(**change)), tmp_path, negatives=True) is None


def test_a_picture_is_looked_for_in_each_folder(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    picture = picture_of(tmp_path / "there", person())
    persons = coco.persons_of(picture, JOINTS)
    folders = [tmp_path / "here", tmp_path / "there"]
    found = [coco_images.prepare_picture(picture, persons, order) for order in (folders, folders[::-1])]
    assert found[0].encoded == found[1].encoded
    picture_of(tmp_path / "here", person(), size_hw=(61, 90))
    assert coco_images.prepare_picture(picture, persons, folders[::-1]).image.shape == (60, 90, 3)
    with pytest.raises(PictureFault, match="another size"):
        coco_images.prepare_picture(picture, persons, folders)


def test_people_may_have_other_joints(tmp_path):
    picture = picture_of(tmp_path, {**person(), "keypoints": [5, 5, 2] * 14})
    persons = coco.persons_of(picture, 14)
    assert coco_images.prepare_picture(picture, persons, [tmp_path]).keypoints.shape == (1, 14, 3)
    with pytest.raises(PictureFault, match="annotations malformed"):
        coco.persons_of(picture, JOINTS)
