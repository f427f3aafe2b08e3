"""COCO's annotations -> masks, main persons, people: the published values, the deviations, odd input."""

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_coco import write_drawn_coco
from pycocotools import mask as coco_mask

from simplepose.data import coco
from simplepose.data.record import PictureFault, decode_picture

JOINTS = 17


def person(box=(2, 2, 40, 40), labelled=JOINTS, area=1600.0, **more) -> dict:
    """An annotation of someone whose outline is the box."""
    x, y, width, height = box
    keypoints = np.zeros((JOINTS, 3))
    keypoints[:labelled] = (x + width / 2, y + height / 2, 2)
    outline = [x, y, x + width, y, x + width, y + height, x, y + height]
    values = {
        "bbox": list(box),
        "keypoints": keypoints.ravel().tolist(),
        "area": area,
        "segmentation": [outline],
    }
    return {**values, "category_id": 1, "iscrowd": 0, **more}


def picture_of(folder: Path, *persons: dict, size_hw=(60, 90)) -> coco.AnnotatedPicture:
    """A grey picture file with these annotations."""
    cv2.imwrite(str(folder / "a.png"), np.full((*size_hw, 3), 128, np.uint8))
    return coco.AnnotatedPicture(7, "a.png", *size_hw, persons)


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
        prepared = coco.prepare_picture(picture, images)
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
        ours = samples_of(coco.prepare_picture(picture, images))
        stale = published_reach(picture)
        with monkeypatch.context() as patch:
            patch.setattr(coco, "choose_main_persons", lambda b, e, reach, stale=stale: own_rule(b, e, stale))
            assert samples_of(coco.prepare_picture(picture, images)) == expected, picture.image_id
        differing += ours != expected
    assert differing == 5


class TestMainPersons:
    def test_nobody_gives_nobody(self):
        assert coco.choose_main_persons(np.zeros((0, 4)), np.zeros(0, bool), np.zeros(0)) == []

    def test_the_reach_is_that_of_the_earlier_main_person(self, tmp_path):
        small, beside, large = person((0, 0, 10, 20)), person((7, 0, 10, 20)), person((0, 0, 80, 60))
        # 7 px apart: beyond 0.3 * 20 of the small one, within 0.3 * 80 of the last annotation's.
        picture = picture_of(tmp_path, small, beside, {**large, "keypoints": [0] * 51})
        assert coco.prepare_picture(picture, tmp_path).main_persons == (0, 1)
        boxes = np.array([p["bbox"] for p in picture.persons], float)
        assert coco.choose_main_persons(boxes, np.array([True, True, False]), published_reach(picture)) == [0]

    @pytest.mark.parametrize(("distance", "expected"), [(5.9, (0,)), (6.0, (0, 1)), (6.1, (0, 1))])
    def test_not_closer_than_the_reach_is_far_enough(self, tmp_path, distance, expected):
        picture = picture_of(tmp_path, person((0, 0, 10, 20)), person((distance, 0, 10, 20)))
        assert coco.prepare_picture(picture, tmp_path).main_persons == expected

    def test_one_who_is_no_main_person_keeps_nobody_away(self, tmp_path):
        picture = picture_of(
            tmp_path, person(), person(labelled=4), person((3, 2, 40, 40)), person((60, 2, 20, 40))
        )
        assert coco.prepare_picture(picture, tmp_path).main_persons == (0, 3)
        boxes = np.array([[0, 0, 10, 10], [2, 0, 10, 10], [4, 0, 10, 10]], float)
        assert coco.choose_main_persons(boxes, np.ones(3, bool), np.full(3, 3.0)) == [0, 2]

    @pytest.mark.parametrize(
        "change",
        [{"labelled": 4}, {"area": 1023.9}, {"iscrowd": 1}, {"box": (2, 2, 40, 0)}, {"box": (2, 2, 0, 40)}],
    )
    def test_too_little_of_a_person_gives_no_sample(self, tmp_path, change):
        assert coco.prepare_picture(picture_of(tmp_path, person(**change)), tmp_path) is None
        assert coco.prepare_picture(picture_of(tmp_path, person(labelled=5, area=1024)), tmp_path) is not None

    def test_a_picture_without_annotations_gives_none_and_is_not_read(self, tmp_path):
        assert coco.prepare_picture(coco.AnnotatedPicture(1, "absent.jpg", 4, 5, ()), tmp_path) is None


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
        prepared = coco.prepare_picture(picture, tmp_path)
        assert prepared.keypoints.shape == (3, JOINTS, 3)
        assert prepared.keypoints.dtype == np.float32
        first, second = (prepared.record(main) for main in prepared.main_persons)
        assert [int((p[:, 2] > 0).sum()) for p in first.keypoints] == [17, 3, 6]
        assert [int((p[:, 2] > 0).sum()) for p in second.keypoints] == [6, 3, 17]
        assert (second.center_xy, second.height, second.image_id) == ((80.0, 25.0), 50.0, 7)

    def test_a_picture_of_one_pixel(self, tmp_path):
        picture = picture_of(tmp_path, person((0, 0, 1, 1)), size_hw=(1, 1))
        record = coco.prepare_picture(picture, tmp_path).record(0)
        assert record.image.shape == (1, 1, 3)
        assert record.mask_all.tolist() == [[255]]


class TestMasks:
    left, middle, right = ((4, 0, 20, 60), (14, 0, 20, 60), (50, 0, 30, 60))

    def columns(self, mask: np.ndarray, value: int) -> set[int]:
        """Where a mask of full-height strips has `value`."""
        assert (mask == mask[0]).all()
        return set(np.flatnonzero(mask[0] == value).tolist())

    def masks(self, tmp_path, *persons):
        prepared = coco.prepare_picture(picture_of(tmp_path, *persons), tmp_path)
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

    def test_every_way_to_write_a_segmentation_gives_the_same_mask(self):
        mask = np.zeros((6, 9), np.uint8)
        mask[1:4, 2:7] = 1
        packed = coco_mask.encode(np.asfortranarray(mask))
        flat = mask.ravel(order="F")
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
        outline = [2, 1, 7, 1, 7, 4, 2, 4]
        halves = [[2, 1, 5, 1, 5, 4, 2, 4], [4, 1, 7, 1, 7, 4, 4, 4]]
        ways = [[outline], halves, [[3, 3, 4, 4], outline], {"size": [6, 9], "counts": counts}, packed]
        ways.append({**packed, "counts": packed["counts"].decode()})
        for way in ways:
            assert np.array_equal(coco.segmentation_mask({"segmentation": way}, 6, 9), mask > 0), way
        assert np.array_equal(coco.segmentation_mask({"bbox": [2, 1, 5, 3]}, 6, 9), mask > 0)


class TestFaults:
    def fault(self, picture, folder) -> PictureFault:
        with pytest.raises(PictureFault) as caught:
            coco.prepare_picture(picture, folder)
        assert picture.file_name in str(caught.value)
        return caught.value

    def test_a_missing_picture(self, tmp_path):
        fault = self.fault(coco.AnnotatedPicture(1, "absent.jpg", 60, 90, (person(),)), tmp_path)
        assert fault.reason == "picture missing"

    @pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -2])
    def test_a_truncated_jpeg(self, tmp_path, kept):
        _, images = write_drawn_coco(tmp_path, pictures=1)
        encoded = (images / "000000000001.jpg").read_bytes()
        end = int(len(encoded) * kept) if isinstance(kept, float) else kept
        (tmp_path / "cut.jpg").write_bytes(encoded[:end])
        picture = coco.AnnotatedPicture(1, "cut.jpg", 320, 240, (person(),))
        assert self.fault(picture, tmp_path).reason == "picture damaged"
        (tmp_path / "cut.jpg").write_bytes(encoded)
        assert coco.prepare_picture(picture, tmp_path) is not None

    def test_a_picture_of_another_size(self, tmp_path):
        picture = picture_of(tmp_path, person(), size_hw=(60, 90))
        fault = self.fault(coco.AnnotatedPicture(1, "a.png", 90, 60, picture.persons), tmp_path)
        assert "90 x 60, its annotations are for 60 x 90" in str(fault)

    @pytest.mark.parametrize(
        "change",
        [
            {"keypoints": [1, 2, 2]},
            {"keypoints": ["x"] * 51},
            {"keypoints": [float("nan"), 1, 2] * JOINTS},
            {"bbox": [1, 2, 3]},
            {"bbox": [1, 2, float("inf"), 3]},
            {"area": None},
            {"segmentation": {"size": [90, 60], "counts": [5400]}},
            {"segmentation": [["x"] * 6]},
            {"segmentation": 5},
        ],
    )
    def test_malformed_annotations(self, tmp_path, change):
        fault = self.fault(picture_of(tmp_path, person(), person(**change)), tmp_path)
        assert fault.reason == "annotations malformed"


def test_a_picture_stays_in_the_frame_it_is_stored_in(tmp_path):
    """COCO's annotations ignore the EXIF orientation, so must we."""
    upright = np.zeros((60, 90, 3), np.uint8)
    upright[:, :45] = 255
    jpeg = cv2.imencode(".jpg", upright)[1].tobytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (90, 60, 3)
    assert np.array_equal(decode_picture(turned), decode_picture(jpeg))
    (tmp_path / "a.jpg").write_bytes(turned)
    picture = coco.AnnotatedPicture(1, "a.jpg", 60, 90, (person(),))
    assert coco.prepare_picture(picture, tmp_path).record(0).image.shape == (60, 90, 3)


def test_a_grey_picture_gets_three_channels():
    grey = cv2.imencode(".png", np.arange(12, dtype=np.uint8).reshape(3, 4))[1].tobytes()
    assert np.array_equal(decode_picture(grey), np.arange(12).reshape(3, 4, 1).repeat(3, 2))


class TestReadAnnotations:
    image = {"id": 1, "file_name": "a.jpg", "height": 4, "width": 5}

    def test_pictures_keep_the_order_of_the_json_and_other_categories_are_left_out(self, tmp_path):
        images = [{**self.image, "id": 9}, {**self.image, "id": 3}]
        annotations = [person(image_id=3), person(image_id=3, category_id=18), person(image_id=9)]
        path = tmp_path / "a.json"
        path.write_text(json.dumps({"images": images, "annotations": annotations}))
        listed = coco.read_annotations(path)
        assert [(picture.image_id, len(picture.persons)) for picture in listed] == [(9, 1), (3, 1)]

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no annotations at .*a\.json.*data/README\.md"):
            coco.read_annotations(tmp_path / "a.json")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "not a whole json"),
            ('{"images": [', "not a whole json"),
            ("[]", "no list of 'images'"),
            ({"images": [image]}, "no list of 'annotations'"),
            ({"images": [image], "annotations": []}, "1 pictures and 0 annotations, but none is a person"),
            ({"images": [], "annotations": [{**person(), "image_id": 1}]}, "none is a person"),
            ({"images": [image], "annotations": [{"image_id": 1, "bbox": [1, 1, 2, 2]}]}, "with keypoints"),
            (
                {"images": [image], "annotations": [{**person(), "image_id": 1, "category_id": 2}]},
                "category_id 1",
            ),
            ({"images": [image, image], "annotations": []}, "listed twice"),
            ({"images": [{"id": 1}], "annotations": []}, "'file_name'"),
            ({"images": [{**image, "height": "tall"}], "annotations": []}, "not in COCO's format"),
            ({"images": [image], "annotations": [person()]}, "'image_id'"),
            (
                {"images": [image], "annotations": [5]},
                r"not in COCO's format: annotations\[0\] is no mapping",
            ),
            ({"images": [image, 5], "annotations": []}, r"not in COCO's format: images\[1\] is no mapping"),
            ({"images": [{**image, "id": [1]}], "annotations": []}, r"images\[0\] lacks 'id', or"),
            ("[" * 100000, "not a whole json"),
        ],
    )
    def test_what_is_no_keypoint_json_is_named_with_what_is_expected(self, tmp_path, content, message):
        path = tmp_path / "odd.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(ValueError, match=message) as caught:
            coco.read_annotations(path)
        assert str(path) in str(caught.value)
        assert "person_keypoints_*.json is expected" in str(caught.value)
