"""Error analysis: planted errors are attributed to their kind, and their correction gains what they cost."""

import json

import numpy as np
import pytest

from simplepose.evaluation import coco_eval, error_analysis
from simplepose.evaluation.error_analysis import KEYPOINT_ERRORS, PERSON_ERRORS
from simplepose.skeleton import COCO

SIGMAS, FLIP, NAMES = np.array(COCO.sigmas), np.array(COCO.annotated_flip), COCO.annotated
JOINTS = len(NAMES)

# A standing person in a box of 1 x 2, in COCO's order.
XS = (0.5, 0.54, 0.46, 0.6, 0.4, 0.75, 0.25, 0.9, 0.1, 0.95, 0.05, 0.7, 0.3, 0.72, 0.28, 0.75, 0.25)
YS = (0.15, 0.12, 0.12, 0.15, 0.15, 0.4, 0.4, 0.7, 0.7, 1.0, 1.0, 1.0, 1.0, 1.5, 1.5, 1.95, 1.95)
STANDING = np.stack([XS, YS], 1)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """60 images with two people each, some of them overlapping."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for image_id in range(1, 61):
        images.append({"id": image_id, "file_name": f"{image_id}.jpg", "width": 1200, "height": 900})
        for person in range(2):
            size = rng.uniform(90, 300)
            left, top = 50 + person * rng.uniform(150, 500), rng.uniform(10, 200)
            xy = STANDING * size + (left, top)
            keypoints = np.concatenate([xy, np.full((JOINTS, 1), 2)], 1)
            keypoints[rng.random(JOINTS) < 0.15] = 0
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": size * size,
                    "bbox": [left, top, size, 2 * size],
                    "keypoints": keypoints.ravel().tolist(),
                    "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                }
            )
    categories = [{"id": 1, "name": "person", "keypoints": list(NAMES), "skeleton": []}]
    path = tmp_path_factory.mktemp("truth") / "person_keypoints.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return coco_eval.read_annotations(path)


def perfect_rows(truth):
    return [
        {
            "image_id": a["image_id"],
            "category_id": 1,
            "keypoints": list(a["keypoints"]),
            "score": 0.5 + a["id"] / 1000,
        }
        for a in truth.anns.values()
    ]


def plant(truth, kind, fraction=0.2):
    """Return rows with one kind of keypoint error, and the (row, joint) of each planted error."""
    rng = np.random.default_rng(1)
    rows, planted = perfect_rows(truth), []
    people = list(truth.anns.values())
    for index, person in enumerate(people):
        own = np.array(person["keypoints"]).reshape(JOINTS, 3)
        other = next(a for a in truth.imgToAnns[person["image_id"]] if a["id"] != person["id"])
        others = np.array(other["keypoints"]).reshape(JOINTS, 3)
        found = own.copy()
        spread = np.sqrt(person["area"]) * 2 * SIGMAS * np.sqrt(2)
        for joint in np.flatnonzero((own[:, 2] > 0) & (rng.random(JOINTS) < fraction)):
            direction = rng.normal(size=2)
            direction /= np.linalg.norm(direction)
            if kind == "jitter":  # a similarity of 0.6
                found[joint, :2] += direction * spread[joint] * np.sqrt(-np.log(0.6))
            elif kind == "inversion" and own[FLIP[joint], 2] > 0 and FLIP[joint] != joint:
                found[joint, :2] = own[FLIP[joint], :2]
            elif kind == "swap" and others[joint, 2] > 0:
                found[joint, :2] = others[joint, :2]
            elif kind == "miss":
                found[joint, :2] += direction * 10 * np.sqrt(person["area"])
            else:
                continue
            planted.append((index, joint))
        rows[index]["keypoints"] = found.ravel().tolist()
    return rows, planted


def gains(truth, rows):
    return error_analysis.analyze(truth, rows, SIGMAS, FLIP, NAMES)["gains"]


@pytest.mark.parametrize("kind", KEYPOINT_ERRORS)
def test_planted_keypoint_errors_are_attributed_to_their_kind(truth, kind):
    rows, planted = plant(truth, kind)
    assert len(planted) > 100
    matches = error_analysis.match_people(truth, rows, SIGMAS, FLIP)
    errors = {match.row: match.errors for match in matches.matched}
    attributed = [errors[row][joint] for row, joint in planted if row in errors]
    assert len(attributed) > 0.95 * len(planted)
    assert np.mean([error == kind for error in attributed]) >= 0.95
    others = {
        error
        for row, person in errors.items()
        for joint, error in enumerate(person)
        if error and (row, joint) not in set(planted)
    }
    assert others == {"good"}


@pytest.mark.parametrize("kind", KEYPOINT_ERRORS)
def test_the_correction_of_the_planted_kind_gains_all_that_it_costs(truth, kind):
    rows, _ = plant(truth, kind)
    cost = 1 - coco_eval.evaluate_rows(truth, rows)["AP"]
    assert cost > 0.02
    gained = gains(truth, rows)
    assert gained[kind]["AP"] == pytest.approx(cost, abs=0.02)
    for other in set(KEYPOINT_ERRORS) - {kind}:
        assert gained[other]["AP"] < 0.1 * cost


def test_perfect_results_have_no_errors(truth):
    report = error_analysis.analyze(truth, perfect_rows(truth), SIGMAS, FLIP, NAMES)
    assert all(value == pytest.approx(0) for kind in report["gains"].values() for value in kind.values())
    assert report["people"] == {"matched": 120, "background": 0, "missed": 0}
    assert all(fractions["good"] == 1 for fractions in report["keypoints"].values())
    assert set(report["sizes"]) == {"medium", "large"}
    assert set(report["crowding"]) == {"alone", "crowded"}


def test_no_results_miss_everybody(truth):
    report = error_analysis.analyze(truth, [], SIGMAS, FLIP, NAMES)
    assert report["people"] == {"matched": 0, "background": 0, "missed": 120}
    assert all(report["gains"][kind]["AP"] == 0 for kind in KEYPOINT_ERRORS)


def test_missed_people_and_background_are_counted_and_cost_ap(truth):
    rows = perfect_rows(truth)[:90]  # 30 people are missed
    false_people = [
        {**row, "keypoints": [v + 2000 * (i % 3 < 2) for i, v in enumerate(row["keypoints"])], "score": 0.99}
        for row in rows[:40]
    ]
    report = error_analysis.analyze(truth, rows + false_people, SIGMAS, FLIP, NAMES)
    assert report["people"] == {"matched": 90, "background": 40, "missed": 30}
    assert report["gains"]["background"]["AP"] > 0.1
    assert report["gains"]["missed"]["AP"] > 0.1
    assert report["gains"]["score"]["AP"] == pytest.approx(report["gains"]["background"]["AP"], abs=0.02)


def test_found_people_in_ignored_regions_are_no_background(truth, tmp_path):
    content = {**truth.dataset, "annotations": [dict(a) for a in truth.dataset["annotations"]]}
    for annotation in content["annotations"][:10]:
        annotation["iscrowd"] = 1
    crowds = coco_eval.index_annotations(content)
    matches = error_analysis.match_people(crowds, perfect_rows(truth), SIGMAS, FLIP)
    assert len(matches.matched) == 110
    assert matches.background == ()


def test_inputs_are_unchanged_and_unknown_kinds_are_refused(truth):
    rows, _ = plant(truth, "miss")
    before = json.dumps([truth.dataset, rows])
    gains(truth, rows)
    assert json.dumps([truth.dataset, rows]) == before
    matches = error_analysis.match_people(truth, rows, SIGMAS, FLIP)
    with pytest.raises(ValueError, match=f"expected one of {', '.join((*KEYPOINT_ERRORS, *PERSON_ERRORS))}"):
        error_analysis.correct(truth, rows, matches, "wobble")
