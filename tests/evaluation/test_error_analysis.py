"""Error analysis: planted errors are attributed to their kind, and their correction gains what they cost."""

import json

import numpy as np
import pytest
from planted_errors import FLIP, NAMES, SIGMAS, perfect_rows, plant, write_annotations

from simplepose.evaluation import coco_eval, error_analysis
from simplepose.evaluation.error_analysis import KEYPOINT_ERRORS, PERSON_ERRORS


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("truth") / "person_keypoints.json")


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


def test_without_results_all_people_are_missed(truth):
    report = error_analysis.analyze(truth, [], SIGMAS, FLIP, NAMES)
    assert report["people"] == {"matched": 0, "background": 0, "missed": 120}
    assert all(report["gains"][kind]["AP"] == 0 for kind in KEYPOINT_ERRORS)


def test_only_people_of_the_evaluated_images_are_counted(truth):
    rows = [row for row in perfect_rows(truth) if row["image_id"] <= 5][1:]
    report = error_analysis.analyze(truth, rows, SIGMAS, FLIP, NAMES, [1, 2, 3, 4, 5])
    assert report["people"] == {"matched": 9, "background": 0, "missed": 1}


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
