"""Images and annotations with faults: repaired, or rejected with a reason."""

import cv2
import numpy as np
import pytest
from annotated_images import JOINTS, person, prepare, write_annotated_image, write_rotated_jpeg
from synthetic_coco import write_synthetic_coco

from simplepose.data import coco
from simplepose.data.record import UnusableImageError, decode_image


class TestRepaired:
    def outside(self, *points_xy) -> dict:
        """A person whose first joints lie at these points."""
        whole = person()
        for joint, (x, y) in enumerate(points_xy):
            whole["keypoints"][3 * joint : 3 * joint + 2] = x, y
        return whole

    def test_a_joint_outside_the_image_counts_as_not_labeled(self, tmp_path):
        points = [(-0.6, 5), (90.1, 5), (5, -1e30), (5, 60.5), (90, 60), (-0.5, -0.5), (0, 59)]
        annotated = write_annotated_image(tmp_path, self.outside(*points), person((60, 2, 20, 40)))
        first, second = prepare(annotated, tmp_path).keypoints
        assert first[:8, 2].tolist() == [0, 0, 0, 0, 2, 2, 2, 2]
        assert not first[:4].any()
        assert second[:, 2].all()
        (issue,) = coco.parse_persons(annotated, JOINTS).issues
        assert (issue.image_id, issue.kind) == (7, coco.JOINT_OUTSIDE)
        assert issue.detail == "of a.png: -0.6, 5; 90.1, 5; 5, -1e+30; 5, 60.5"

    def test_a_person_outside_the_image_has_no_keypoints(self, tmp_path):
        away = self.outside(*[(500, 500)] * JOINTS)
        annotated = write_annotated_image(tmp_path, away, person((60, 2, 20, 40)))
        prepared = prepare(annotated, tmp_path)
        assert len(prepared.keypoints) == 1
        assert (prepared.mask_miss[3:40, 3:40] == 0).all()

    def test_joints_outside_can_reveal_annotations_of_another_image(self, tmp_path):
        annotated = write_annotated_image(tmp_path, person((60, 2, 20, 40)), size_hw=(60, 90))
        rotated = coco.AnnotatedImage(7, "a.png", 90, 60, annotated.persons)
        assert coco.parse_persons(rotated, JOINTS).main_persons == []
        with pytest.raises(UnusableImageError, match="image of another size"):
            prepare(rotated, tmp_path)

    @pytest.mark.parametrize("box", [(2, 2, 40, 0), (2, 2, 0, 40), (2, 2, -3, 40), (2, 2, 0, 0)])
    def test_a_box_without_area_is_reported_and_gives_no_sample(self, tmp_path, box):
        annotated = write_annotated_image(tmp_path, person(box), person((60, 2, 20, 40)))
        (issue,) = coco.parse_persons(annotated, JOINTS).issues
        assert issue.kind == coco.BOX_WITHOUT_AREA
        prepared = prepare(annotated, tmp_path)
        assert (len(prepared.keypoints), prepared.main_persons) == (2, (1,))

    def test_a_missing_area_defaults_to_the_box_area(self, tmp_path):
        for box, expected in [((2, 2, 32, 32), (0,)), ((2, 2, 32, 31.9), None)]:
            annotation = person(box)
            del annotation["area"]
            prepared = prepare(write_annotated_image(tmp_path, annotation), tmp_path)
            assert (prepared and prepared.main_persons) == expected


class TestFaults:
    def fault(self, annotated, folder) -> UnusableImageError:
        with pytest.raises(UnusableImageError) as caught:
            prepare(annotated, folder)
        assert annotated.file_name in str(caught.value)
        return caught.value

    @pytest.mark.parametrize("name", ["absent.jpg", "no/such/folder.jpg", "nul\0.jpg"])
    def test_a_missing_image_is_reported(self, tmp_path, name):
        fault = self.fault(coco.AnnotatedImage(1, name, 60, 90, (person(),)), tmp_path)
        assert fault.reason == "image missing"

    @pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -2])
    def test_a_truncated_jpeg_is_reported(self, tmp_path, kept):
        _, images = write_synthetic_coco(tmp_path, num_images=1)
        encoded = (images / "000000000001.jpg").read_bytes()
        end = int(len(encoded) * kept) if isinstance(kept, float) else kept
        (tmp_path / "cut.jpg").write_bytes(encoded[:end])
        annotated = coco.AnnotatedImage(1, "cut.jpg", 320, 240, (person(),))
        assert self.fault(annotated, tmp_path).reason == "image damaged"
        (tmp_path / "cut.jpg").write_bytes(encoded)
        assert prepare(annotated, tmp_path) is not None

    def test_an_image_of_another_size_is_reported(self, tmp_path):
        annotated = write_annotated_image(tmp_path, person(), size_hw=(60, 90))
        fault = self.fault(coco.AnnotatedImage(1, "a.png", 90, 60, annotated.persons), tmp_path)
        assert "90 x 60, its annotations are for 60 x 90" in str(fault)

    @pytest.mark.parametrize(
        "change",
        [
            {"keypoints": [1, 2, 2]},
            {"keypoints": ["x"] * 51},
            {"keypoints": [float("nan"), 1, 2] * JOINTS},
            {"bbox": [1, 2, 3]},
            {"bbox": [1, 2, float("inf"), 3]},
            {"area": "large"},
            {"area": -1.0},
            {"bbox": [1, 2, 1e6, 3]},
            {"bbox": [10**400, 2, 3, 4]},
            {"bbox": {}},
            {"bbox": "abcd"},
            {"keypoints": [1, 2, 3] * JOINTS},
            {"keypoints": [1, 2, 0.5] * JOINTS},
            {"keypoints": {"nose": [1, 2, 2]}},
            {"segmentation": [[1, 1, float("nan"), 9, 9, 9]]},
            {"segmentation": {"size": [90, 60], "counts": [5400]}},
            {"segmentation": [["x"] * 6]},
            {"segmentation": 5},
        ],
    )
    def test_malformed_annotations_are_reported(self, tmp_path, change):
        fault = self.fault(write_annotated_image(tmp_path, person(), person(**change)), tmp_path)
        assert fault.reason == "annotations malformed"


def test_exif_orientation_is_ignored(tmp_path):
    """COCO's annotations ignore the EXIF orientation."""
    rotated = write_rotated_jpeg(tmp_path)
    assert cv2.imread(str(rotated)).shape == (90, 60, 3)
    stored = decode_image(rotated.read_bytes())
    assert stored.shape == (60, 90, 3)
    assert stored[:, :40].min() > 200
    assert stored[:, 50:].max() < 50
    annotated = coco.AnnotatedImage(1, rotated.name, 60, 90, (person(),))
    assert prepare(annotated, tmp_path).record(0).image.shape == (60, 90, 3)


def test_a_gray_image_gets_three_channels():
    gray = cv2.imencode(".png", np.arange(12, dtype=np.uint8).reshape(3, 4))[1].tobytes()
    assert np.array_equal(decode_image(gray), np.arange(12).reshape(3, 4, 1).repeat(3, 2))
