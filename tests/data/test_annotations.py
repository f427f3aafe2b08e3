"""Read a json in COCO's format, or report why it is malformed."""

import json

import pytest

from simplepose.data import coco
from simplepose.skeleton import COCO

JOINTS = len(COCO.annotated)


def person(**more) -> dict:
    """An annotation of a person."""
    return {"keypoints": [1, 1, 2] * JOINTS, "bbox": [1, 1, 2, 2], "area": 4.0, "category_id": 1, **more}


class TestReadAnnotations:
    image = {"id": 1, "file_name": "a.jpg", "height": 4, "width": 5}

    def test_images_keep_the_order_of_the_json_and_other_categories_are_ignored(self, tmp_path):
        images = [{**self.image, "id": 9}, {**self.image, "id": 3}]
        annotations = [person(image_id=3), person(image_id=3, category_id=18), person(image_id=9)]
        path = tmp_path / "a.json"
        path.write_text(json.dumps({"images": images, "annotations": annotations}))
        listed = coco.read_annotations(path)
        assert [(image.image_id, len(image.persons)) for image in listed] == [(9, 1), (3, 1)]

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no annotations at .*a\.json.*data/README\.md"):
            coco.read_annotations(tmp_path / "a.json")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "invalid or truncated json"),
            ('{"images": [', "invalid or truncated json"),
            ("[]", "no list 'images'"),
            ({"images": [image]}, "no list 'annotations'"),
            ({"images": [image], "annotations": []}, "1 images and 0 annotations, but none is a person"),
            ({"images": [], "annotations": [{**person(), "image_id": 1}]}, "none is a person"),
            ({"images": [image], "annotations": [{"image_id": 1, "bbox": [1, 1, 2, 2]}]}, "with keypoints"),
            (
                {"images": [image], "annotations": [{**person(), "image_id": 1, "category_id": 2}]},
                "category_id 1",
            ),
            ({"images": [image, image], "annotations": []}, "duplicate image id"),
            ({"images": [{"id": 1}], "annotations": []}, "'file_name'"),
            ({"images": [{**image, "height": "tall"}], "annotations": []}, "not in COCO's format"),
            (
                {"images": [{**image, "id": 2**63}], "annotations": [person(image_id=1)]},
                "not in COCO's format",
            ),
            (
                {"images": [{**image, "id": "one"}], "annotations": [person(image_id=1)]},
                "not in COCO's format",
            ),
            ({"images": [image], "annotations": [person()]}, "'image_id'"),
            (
                {"images": [image], "annotations": [5]},
                r"not in COCO's format: annotations\[0\] is not an object",
            ),
            (
                {"images": [image, 5], "annotations": []},
                r"not in COCO's format: images\[1\] is not an object",
            ),
            ({"images": [{**image, "id": [1]}], "annotations": []}, r"images\[0\] has no 'id', or"),
            ("[" * 100000, "invalid or truncated json"),
        ],
    )
    def test_a_malformed_json_is_rejected_with_the_expected_format(self, tmp_path, content, message):
        path = tmp_path / "odd.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(ValueError, match=message) as caught:
            coco.read_annotations(path)
        assert str(path) in str(caught.value)
        assert "expected COCO's person_keypoints_*.json" in str(caught.value)

    @pytest.mark.parametrize("named", [COCO.annotated[::-1], COCO.annotated[:14], ["nose", 5]])
    def test_keypoint_names_other_than_expected_are_rejected(self, tmp_path, named):
        path = tmp_path / "a.json"
        category = {"id": 1, "keypoints": list(named)}
        content = {"images": [self.image], "annotations": [person(image_id=1)], "categories": [category]}
        path.write_text(json.dumps(content))
        with pytest.raises(
            ValueError, match=r"a\.json: expected people with the keypoints .*; got .*: choose"
        ):
            coco.read_annotations(path)
        if len(named) == 14:
            content["annotations"][0]["keypoints"] = [1] * 42
            path.write_text(json.dumps(content))
            assert len(coco.read_annotations(path, named)) == 1

    @pytest.mark.parametrize("categories", [None, [], [{"id": 1}], [{"id": 2, "keypoints": ["tail"]}], [5]])
    def test_keypoints_without_names_are_accepted(self, tmp_path, categories):
        path = tmp_path / "a.json"
        content = {"images": [self.image], "annotations": [person(image_id=1)], "categories": categories}
        path.write_text(json.dumps(content))
        assert len(coco.read_annotations(path)) == 1

    def test_a_file_name_with_a_lone_surrogate_is_escaped(self, tmp_path):
        path = tmp_path / "a.json"
        image = {**self.image, "file_name": "\ud800.jpg"}
        path.write_text(json.dumps({"images": [image], "annotations": [person(image_id=1)]}))
        assert coco.read_annotations(path)[0].file_name == "\\ud800.jpg"
