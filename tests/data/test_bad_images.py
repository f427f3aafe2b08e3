"""Pictures and annotations that are not as they should be: mended, or a fault with its reason."""

import struct

import cv2
import numpy as np
import pytest
from annotated import JOINTS, person, picture_of, prepare
from drawn_coco import write_drawn_coco

from simplepose.data import coco
from simplepose.data.record import PictureFault, decode_picture


class TestMended:
    def outside(self, *places_xy) -> dict:
        """Somebody of whom the first joints lie at these places."""
        whole = person()
        for joint, (x, y) in enumerate(places_xy):
            whole["keypoints"][3 * joint : 3 * joint + 2] = x, y
        return whole

    def test_a_joint_outside_the_picture_counts_as_not_labelled(self, tmp_path):
        places = [(-0.6, 5), (90.1, 5), (5, -1e30), (5, 60.5), (90, 60), (-0.5, -0.5), (0, 59)]
        picture = picture_of(tmp_path, self.outside(*places), person((60, 2, 20, 40)))
        first, second = prepare(picture, tmp_path).keypoints
        assert first[:8, 2].tolist() == [0, 0, 0, 0, 2, 2, 2, 2]
        assert not first[:4].any()
        assert second[:, 2].all()
        (remark,) = coco.persons_of(picture, JOINTS).remarks
        assert (remark.image_id, remark.kind) == (7, coco.JOINT_OUTSIDE)
        assert remark.detail == "of a.png: -0.6, 5; 90.1, 5; 5, -1e+30; 5, 60.5"

    def test_somebody_quite_outside_is_somebody_without_keypoints(self, tmp_path):
        away = self.outside(*[(500, 500)] * JOINTS)
        picture = picture_of(tmp_path, away, person((60, 2, 20, 40)))
        prepared = prepare(picture, tmp_path)
        assert len(prepared.keypoints) == 1
        assert (prepared.mask_miss[3:40, 3:40] == 0).all()

    def test_joints_outside_may_be_those_of_another_picture(self, tmp_path):
        picture = picture_of(tmp_path, person((60, 2, 20, 40)), size_hw=(60, 90))
        turned = coco.AnnotatedPicture(7, "a.png", 90, 60, picture.persons)
        assert coco.persons_of(turned, JOINTS).main_persons == []
        with pytest.raises(PictureFault, match="picture of another size"):
            prepare(turned, tmp_path)

    @pytest.mark.parametrize("box", [(2, 2, 40, 0), (2, 2, 0, 40), (2, 2, -3, 40), (2, 2, 0, 0)])
    def test_a_box_without_area_is_told_and_gives_no_sample(self, tmp_path, box):
        picture = picture_of(tmp_path, person(box), person((60, 2, 20, 40)))
        (remark,) = coco.persons_of(picture, JOINTS).remarks
        assert remark.kind == coco.BOX_WITHOUT_AREA
        prepared = prepare(picture, tmp_path)
        assert (len(prepared.keypoints), prepared.main_persons) == (2, (1,))

    def test_an_area_that_is_not_stated_is_the_box(self, tmp_path):
        for box, expected in [((2, 2, 32, 32), (0,)), ((2, 2, 32, 31.9), None)]:
            annotation = person(box)
            del annotation["area"]
            prepared = prepare(picture_of(tmp_path, annotation), tmp_path)
            assert (prepared and prepared.main_persons) == expected


class TestFaults:
    def fault(self, picture, folder) -> PictureFault:
        with pytest.raises(PictureFault) as caught:
            prepare(picture, folder)
        assert picture.file_name in str(caught.value)
        return caught.value

    @pytest.mark.parametrize("name", ["absent.jpg", "no/such/folder.jpg", "nul\0.jpg"])
    def test_a_missing_picture(self, tmp_path, name):
        fault = self.fault(coco.AnnotatedPicture(1, name, 60, 90, (person(),)), tmp_path)
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
        assert prepare(picture, tmp_path) is not None

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
    assert prepare(picture, tmp_path).record(0).image.shape == (60, 90, 3)


def test_a_grey_picture_gets_three_channels():
    grey = cv2.imencode(".png", np.arange(12, dtype=np.uint8).reshape(3, 4))[1].tobytes()
    assert np.array_equal(decode_picture(grey), np.arange(12).reshape(3, 4, 1).repeat(3, 2))
