"""Comparison: the weighted AP equals pycocotools', intervals contain the truth, changed images are found."""

import numpy as np
import pytest
from planted_errors import mixed_rows, perfect_rows, plant, write_annotations

from simplepose.evaluation import coco_eval, comparison
from simplepose.evaluation.comparison import COMPARED_METRICS, ImageWeightedAP


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("truth") / "person_keypoints.json")


def jittered_rows(truth, fraction=0.3):
    return plant(truth, "jitter", fraction)[0]


def test_equal_weights_give_the_ap_of_pycocotools(truth):
    for rows in (perfect_rows(truth), jittered_rows(truth), plant(truth, "miss")[0][:70], []):
        expected = coco_eval.evaluate_rows(truth, rows)
        values = ImageWeightedAP(truth, rows)(np.ones(len(truth.imgs)))
        assert values == pytest.approx({name: expected[name] for name in COMPARED_METRICS}, abs=1e-12)


def test_a_weight_is_a_number_of_copies(truth):
    """Weight 0 leaves an image out."""
    rows, ids = plant(truth, "miss")[0], sorted(truth.imgs)
    weights = np.arange(len(ids)) % 2
    kept = [image_id for image_id, weight in zip(ids, weights, strict=True) if weight]
    expected = coco_eval.evaluate_rows(truth, [r for r in rows if r["image_id"] in kept], kept)
    ap = ImageWeightedAP(truth, rows)
    assert ap(weights)["AP"] == pytest.approx(expected["AP"], abs=1e-12)
    assert ap(3 * weights)["AP"] == pytest.approx(expected["AP"], abs=1e-12)


def repeat_images(truth, rows, weights):
    """Annotations and rows in which each image is there `weights` times."""
    images, annotations, repeated = [], [], []
    for entry, weight in zip(truth.dataset["images"], weights, strict=True):
        for copy in range(weight):
            image_id = 1000 * entry["id"] + copy
            images.append({**entry, "id": image_id})
            annotations += [{**a, "image_id": image_id} for a in truth.imgToAnns[entry["id"]]]
            repeated += [{**row, "image_id": image_id} for row in rows if row["image_id"] == entry["id"]]
    annotations = [{**a, "id": number} for number, a in enumerate(annotations, 1)]
    content = {**truth.dataset, "images": images, "annotations": annotations}
    return coco_eval.index_annotations(content), repeated


@pytest.mark.parametrize("seed", range(3))
def test_random_weights_give_the_ap_of_pycocotools_for_repeated_images(truth, seed):
    rng = np.random.default_rng(seed)
    rows = mixed_rows(truth, seed=seed)
    for row in rows:
        row["score"] = rng.random()  # unequal
    weights = rng.integers(0, 5, len(truth.imgs))
    expected = coco_eval.evaluate_rows(*repeat_images(truth, rows, weights))
    values = ImageWeightedAP(truth, rows)(weights)
    assert 0 < values["AP"] < 1
    assert values == pytest.approx({name: expected[name] for name in COMPARED_METRICS}, abs=1e-12)


def test_the_ap_of_each_image_alone(truth):
    rows = plant(truth, "miss")[0]
    values = ImageWeightedAP(truth, rows).per_image()
    for index in (0, 17, 59):
        image_id = sorted(truth.imgs)[index]
        alone = [row for row in rows if row["image_id"] == image_id]
        assert values[index] == pytest.approx(coco_eval.evaluate_rows(truth, alone, [image_id])["AP"])


def test_equal_results_do_not_differ(truth):
    ap = ImageWeightedAP(truth, jittered_rows(truth))
    for difference in comparison.compare(ap, ap, samples=20).values():
        assert difference.low == difference.high == 0
        assert not difference.is_significant


def test_a_large_difference_is_significant_and_within_its_interval(truth):
    worse, better = (
        ImageWeightedAP(truth, jittered_rows(truth, 0.5)),
        ImageWeightedAP(truth, perfect_rows(truth)),
    )
    difference = comparison.compare(worse, better, samples=100)["AP"]
    assert difference.is_significant
    assert 0 < difference.low < difference.second - difference.first < difference.high
    assert comparison.compare(worse, better, samples=100)["AP"] == difference  # the seed decides


def test_different_images_are_refused(truth):
    rows = perfect_rows(truth)
    some = ImageWeightedAP(truth, rows[:10], sorted(truth.imgs)[:5])
    with pytest.raises(ValueError, match="got 60 and 5 images"):
        comparison.compare(ImageWeightedAP(truth, rows), some)
