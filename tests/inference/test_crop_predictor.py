"""Top-down inference: boxes -> crops -> heatmaps -> keypoints, in the coordinates of the image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from records import blank_record

from simplepose import geometry, targets
from simplepose.config import AugmentSettings, FastPoseSettings, InferenceSettings, Settings, TargetSettings
from simplepose.data.transforms import augment
from simplepose.data.transforms.augment import AugmentParams
from simplepose.inference.crops import CropPredictor, find_maxima, unflip
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO

SETTINGS = Settings(
    network="fastpose",
    fastpose=FastPoseSettings(encoder="mobilenet_v2", encoder_multiplier=0.2, widths=(16, 8, 8)),
    targets=TargetSettings(keypoint_sigma=8.0),
    augment=AugmentSettings(size=(256, 192), framing="crop", person_height=0.8),
)
BOXES = np.array(
    [[20, 30, 90, 190], [100.5, 10.25, 300, 60], [-40, -30, 60, 100], [200, 100, 201, 102], [5, 5, 5.5, 200]]
)


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    network = checkpoints.build_network(SETTINGS, COCO).eval()
    torch.nn.init.normal_(network.maps.weight)
    return CropPredictor(Model(network, SETTINGS, COCO), batch=16, runtime="torch")


def draw_maps(points, settings=SETTINGS):
    """Training heatmaps of one person per crop, from (N, 17, 2) crop pixels; all joints are labeled."""
    labeled = np.concatenate([points, np.full((*points.shape[:2], 1), 2)], 2).astype(np.float32)
    joints = torch.from_numpy(COCO.to_network(labeled)[:, None])
    height, width = settings.augment.size
    return targets.draw_crops(joints, (height // 4, width // 4), COCO, settings.targets, torch.device("cpu"))


def test_round_trip_of_crops(predictor, rng):
    """Box -> crop -> heatmaps -> keypoints gives the keypoints within 0.1 crop pixels."""
    image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    crops = [predictor.crop(image, box) for box in BOXES]
    in_crop = rng.uniform((6, 6), (185, 249), (len(BOXES), 17, 2))
    maps, weights = draw_maps(in_crop)
    assert weights.all()
    found = predictor.decode(maps, crops)
    for row, crop in enumerate(crops):
        assert (
            np.abs(
                geometry.apply_to_points(geometry.inverse(crop.to_image), found[row, :, :2]) - in_crop[row]
            ).max()
            < 0.1
        )
    assert (found[..., 2] > 0.8).all()


def test_white_pixel_is_found_where_it_was(predictor):
    """A white pixel, enlarged in the crop, has its center where `to_image` puts it."""
    image = np.zeros((240, 320, 3), np.uint8)
    image[77, 123] = 255
    crop = predictor.crop(image, np.array([110, 60, 134, 92]))
    gray = crop.pixels[..., 0].astype(float)
    y, x = np.mgrid[:256, :192]
    center = (gray * x).sum() / gray.sum(), (gray * y).sum() / gray.sum()
    assert geometry.apply_to_points(crop.to_image, np.array(center)) == pytest.approx((123, 77), abs=0.02)


@pytest.mark.parametrize("box", BOXES[:2])
def test_crops_are_those_of_training(predictor, box, rng):
    image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    (left, top), (width, height) = box[:2], box[2:] - box[:2]
    center = (left + width / 2, top + height / 2)
    record = replace(blank_record(people=1, center_xy=center, height=height, width=width), image=image)
    sample = augment.apply(record, AugmentParams(), SETTINGS.augment, COCO, 4)
    crop = predictor.crop(image, box)
    inside = geometry.apply_to_image(
        geometry.inverse(crop.to_image), np.full((240, 320), 255, np.uint8), (256, 192), 0
    )
    difference = np.abs(sample.image.astype(int) - crop.pixels.astype(int))[inside == 255]
    assert difference.max() <= 2
    assert (difference == 0).mean() > 0.9


@pytest.mark.parametrize("box", BOXES[:3])
def test_box_fills_the_crop_up_to_the_margin(predictor, box):
    crop = predictor.crop(np.zeros((240, 320, 3), np.uint8), box)
    corners = geometry.apply_to_points(geometry.inverse(crop.to_image), box.reshape(2, 2))
    size = (corners[1] - corners[0]) / (192, 256)
    assert size.max() == pytest.approx(0.8)
    assert corners.mean(0) == pytest.approx((95.5, 127.5))


def test_mirrored_crop_gives_mirrored_maps(predictor, rng):
    points = rng.uniform((20, 20), (170, 230), (1, 17, 2))
    mirrored = points[:, COCO.annotated_flip].copy()
    mirrored[..., 0] = 191 - mirrored[..., 0]
    maps, again = draw_maps(points)[0], draw_maps(mirrored)[0]
    threshold = SETTINGS.targets.threshold  # a Gaussian may end a cell earlier on one side
    assert (unflip(again, COCO, 0) - maps).abs().max() < threshold


def test_published_maps_are_moved_by_a_cell_after_mirroring(predictor):
    published = replace(SETTINGS, fastpose=replace(SETTINGS.fastpose, origin=0.0))
    model = Model(checkpoints.build_network(published, COCO).eval(), published, COCO)
    assert CropPredictor(model, runtime="torch")._mirror_shift == 1
    assert predictor._mirror_shift == 0
    maps = torch.arange(17 * 4.0).reshape(1, 17, 1, 4)
    moved = unflip(maps, COCO, 1)[0, 0, 0]
    assert moved.tolist() == [3, 3, 2, 1]


def test_flip_averages_with_the_mirrored_crop(predictor, rng):
    image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    crops = [predictor.crop(image, box) for box in BOXES[:2]]
    mirrored = [replace(crop, pixels=np.ascontiguousarray(crop.pixels[:, ::-1])) for crop in crops]
    maps = unflip(predictor.infer(mirrored), COCO, 0)
    assert (maps - predictor.infer(crops)).abs().max() < 1e-4 * maps.abs().max()


@pytest.mark.parametrize("x", [0.0, 3.2, 17.75, 24.5, 46.5])
def test_maximum_of_a_gaussian_is_exact(x):
    columns, rows = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="xy")
    y = 63 - x
    maps = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)[None, None]
    found = find_maxima(maps, 2.0)[0, 0]
    inside = 1 <= x <= 46
    assert found[:2].tolist() == pytest.approx([x, y], abs=0.02 if inside else 0.51)


def test_flat_and_negative_maps_are_finite():
    maps = torch.stack([torch.zeros(8, 6), torch.full((8, 6), -1.0), torch.full((8, 6), 0.5)])[None]
    found = find_maxima(maps, 2.0)
    assert found.isfinite().all()
    assert found[0, :, 2].tolist() == [0, -1, 0.5]


def test_people_come_in_the_order_of_the_boxes(predictor, rng):
    image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    boxes = rng.uniform(0, 200, (200, 2))
    boxes = np.concatenate([boxes, boxes + rng.uniform(5, 100, (200, 2))], 1)
    people = predictor(image, boxes)
    assert len(people) == 200
    for row in (0, 17, 199):
        alone = predictor(image, boxes[row, None])
        assert np.abs(alone.keypoints[0] - people.keypoints[row]).max() < 1e-2
    halves = predictor(image, boxes, np.full(200, 0.5))
    assert halves.scores == pytest.approx(people.scores / 2)


@pytest.mark.parametrize("boxes", [[], np.zeros((0, 4)), ()])
def test_no_boxes_give_no_people(predictor, boxes):
    people = predictor(np.zeros((4, 5, 3), np.uint8), boxes)
    assert (len(people), people.keypoints.shape) == (0, (0, 17, 3))


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 50),
        (10, 10, 5, 50),
        (7, 7, 7, 7),
        (400, 10, 500, 90),
        (-90, -90, -1, -1),
        (0, 1e9, 9, 2e9),
    ],
)
def test_boxes_without_a_part_of_the_image_give_no_keypoints(predictor, box):
    image = np.full((240, 320, 3), 200, np.uint8)
    people = predictor(image, np.array([box, BOXES[0]], float))
    assert people.scores[0] == 0
    assert not people.keypoints[0].any()
    assert people.keypoints[1].any()


def test_tiny_and_huge_boxes_give_finite_keypoints(predictor):
    image = np.full((3, 2, 3), 200, np.uint8)
    people = predictor(image, np.array([(0, 0, 1e-9, 1e-9), (-1e9, -1e9, 1e9, 1e9)]))
    assert np.isfinite(people.keypoints).all()


@pytest.mark.parametrize(
    ("image", "boxes", "scores", "message"),
    [
        (np.zeros((4, 5), np.uint8), [[0, 0, 1, 1]], None, "image: expected an H x W x 3 uint8 array"),
        (np.zeros((4, 5, 3), np.uint8), [[0, 0, 1]], None, r"boxes: expected shape \(P, 4\)"),
        (np.zeros((4, 5, 3), np.uint8), [0, 0, 1, 1], None, r"boxes: expected shape \(P, 4\)"),
        (np.zeros((4, 5, 3), np.uint8), [[0, 0, 1, np.nan]], None, "boxes: expected finite values"),
        (np.zeros((4, 5, 3), np.uint8), [[0, 0, 1, 1]], [1, 1], "box_scores: expected 1 finite values"),
        (np.zeros((4, 5, 3), np.uint8), [[0, 0, 1, 1]], [np.inf], "box_scores: expected 1 finite values"),
    ],
)
def test_unusable_arguments_are_errors(predictor, image, boxes, scores, message):
    with pytest.raises(ValueError, match=message):
        predictor(image, boxes, scores)


def test_other_networks_are_refused():
    model = Model(predictor, replace(SETTINGS, network="imhn", inference=InferenceSettings()), COCO)
    with pytest.raises(ValueError, match="expected the network fastpose, got imhn"):
        CropPredictor(model)
