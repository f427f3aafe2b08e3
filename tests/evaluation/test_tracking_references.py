"""The tracking metrics equal those of motmetrics, on random sequences and its own files, and of trackeval."""

from pathlib import Path

import motmetrics
import numpy as np
import pytest

from simplepose.evaluation import (
    FrameMatch,
    compute_hota,
    compute_track_scores,
    match_frames,
    read_mot,
    sum_scores,
)

NAMES = {  # ours: theirs
    "mota": "mota",
    "idf1": "idf1",
    "precision": "precision",
    "recall": "recall",
    "switches": "num_switches",
    "misses": "num_misses",
    "false_positives": "num_false_positives",
    "id_matches": "idtp",
    "truth": "num_objects",
    "found": "num_predictions",
}
MIN_SIMILARITY = 0.5


def motmetrics_values(frames):
    """Compute the metrics of motmetrics by our names."""
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for frame in frames:
        distances = np.where(frame.similarity >= MIN_SIMILARITY, 1 - frame.similarity, np.nan)
        accumulator.update(frame.truth, frame.found, distances)
    metrics = motmetrics.metrics.create()
    values = metrics.compute(accumulator, metrics=[*NAMES.values(), "motp"], return_dataframe=False)
    return {ours: float(values[theirs]) for ours, theirs in NAMES.items()} | {"motp": 1 - values["motp"]}


def assert_equal(frames):
    """Compare all values; returns ours."""
    scores, theirs = compute_track_scores(frames, MIN_SIMILARITY), motmetrics_values(frames)
    for name, value in theirs.items():
        if np.isfinite(value):  # motmetrics has NaN where a metric divides by 0
            assert getattr(scores, name) == pytest.approx(value, abs=1e-12), name
    return scores


def random_sequence(seed, people, num_frames=60):
    """Simulate a tracker: misses, false people, new ids, swapped ids, and frames without people."""
    rng = np.random.default_rng(seed)
    ids, next_id, frames = {person: 100 + person for person in range(people)}, 1000, []
    for _ in range(num_frames):
        truth = rng.permutation(np.flatnonzero(rng.random(people) < 0.8))
        if rng.random() < 0.1:
            truth = truth[:0]
        if people > 1 and rng.random() < 0.2:
            first, second = rng.choice(people, 2, replace=False)
            ids[first], ids[second] = ids[second], ids[first]
        if people and rng.random() < 0.1:
            ids[rng.integers(people)], next_id = next_id, next_id + 1
        found = [ids[person] for person in truth if rng.random() < 0.85]
        found += list(range(next_id, next_id + rng.poisson(0.5)))  # ids that a person may get later
        if rng.random() < 0.05:
            found = []
        similarity = rng.uniform(0, 0.7, (len(truth), len(found)))
        for row, person in enumerate(truth):
            if ids[person] in found:
                similarity[row, found.index(ids[person])] = rng.uniform(0.4, 1)
        frames.append(FrameMatch(truth.astype(int), np.array(found, int), similarity))
    return frames


@pytest.mark.parametrize("people", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("seed", range(4))
def test_random_sequences(seed, people):
    scores = assert_equal(random_sequence(seed, people))
    if people > 1:
        assert min(scores.switches, scores.misses, scores.false_positives) > 0


def test_an_id_that_two_people_had_before():
    def frame(truth, found, *pairs):
        similarity = np.zeros((len(truth), len(found)))
        similarity[tuple(zip(*pairs, strict=True))] = 0.6
        return FrameMatch(np.array(truth), np.array(found), similarity)

    one = frame([1, 2], [7, 8], (0, 0), (1, 1))
    other = frame([1, 2], [8, 7], (0, 0), (1, 1))
    both = frame([1, 2], [7], (0, 0), (1, 0))
    assert assert_equal([one, other, frame([1], [7], (0, 0)), both, both]).switches == 3


def test_sequences_without_people_or_results():
    empty, no_rows = np.zeros(0, int), np.zeros((0, 2))
    assert_equal([FrameMatch(empty, empty, np.zeros((0, 0)))])
    assert_equal([FrameMatch(empty, np.array([1, 2]), no_rows)])
    assert_equal([FrameMatch(np.array([1, 2]), empty, no_rows.T)])


# Sequence: MOTA, IDF1, MOTP (as a similarity) and switches that motmetrics' documentation states.
PUBLISHED = {"TUD-Campus": (0.526, 0.558, 0.723, 7), "TUD-Stadtmitte": (0.564, 0.645, 0.654, 7)}


@pytest.fixture(scope="module")
def published_frames():
    """The frames of each sequence that motmetrics contains."""
    data = Path(motmetrics.__file__).parent / "data"
    videos = {name: read_mot(data / name / "gt.txt", data / name / "test.txt")[0] for name in PUBLISHED}
    assert [truth.name for truth, _ in videos.values()] == list(PUBLISHED)
    return {name: match_frames(*pair) for name, pair in videos.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_real_sequences_have_the_published_values(published_frames, name):
    scores = assert_equal(published_frames[name])
    mota, idf1, motp, switches = PUBLISHED[name]
    assert (scores.mota, scores.idf1, scores.motp) == pytest.approx((mota, idf1, motp), abs=6e-4)
    assert scores.switches == switches


def test_sums_over_videos_have_the_published_values(published_frames):
    total = sum_scores([compute_track_scores(frames) for frames in published_frames.values()])
    assert (total.mota, total.idf1, total.switches) == pytest.approx((0.555, 0.624, 14), abs=6e-4)


def test_hota_of_perfect_swapped_and_no_tracks():
    pytest.importorskip("trackeval")
    ids = np.arange(2)
    right = FrameMatch(ids, ids + 5, np.eye(2))
    wrong = FrameMatch(ids, ids[::-1] + 5, np.eye(2))
    none = FrameMatch(ids, ids[:0], np.zeros((2, 0)))
    assert compute_hota([[right] * 4]) == pytest.approx({"HOTA": 1, "DetA": 1, "AssA": 1})
    # The same ids in two videos are different people.
    assert compute_hota([[right] * 4, [wrong] * 4])["AssA"] == pytest.approx(1)
    # Half of each person's frames have each id: each match is in 2 of 4 + 4 - 2 frames of its ids.
    assert compute_hota([[right, right, wrong, wrong]])["AssA"] == pytest.approx(2 / 6)
    assert compute_hota([[none]])["HOTA"] == 0


def write_mot17_sequence(folder, num_frames=60):
    """Write a sequence with all kinds of truth, in trackeval's folders; returns the two files."""
    rng = np.random.default_rng(3)
    classes = [1, 1, 1, 1, 1, 1, 8, 7, 2, 12, 3, 6]  # 1: pedestrians, 2, 7, 8, 12: distractors
    xy, ids = rng.uniform(0, 300, (len(classes), 2)), list(range(100, 100 + len(classes)))
    truth, found = [], []
    for frame in range(1, num_frames + 1):
        xy += rng.normal(0, 6, xy.shape)
        for person, class_id in enumerate(classes):
            is_set = int(class_id == 1 and person > 0)
            truth.append((frame, person + 1, *xy[person], 60, 100, is_set, class_id, 1))
            ids[person] += 100 * (rng.random() < 0.03)
            if rng.random() < 0.85:
                found.append(
                    (frame, ids[person], *(xy[person] + rng.normal(0, 6, 2)), 60, 100, 0.9, -1, -1, -1)
                )
    paths = folder / "truth/A/gt/gt.txt", folder / "results/ours/data/A.txt"
    for path, rows in zip(paths, (truth, found), strict=True):
        path.parent.mkdir(parents=True)
        np.savetxt(path, rows, fmt="%.7g", delimiter=",")
    return paths


def test_a_sequence_with_distractors_has_the_values_of_trackeval(tmp_path):
    """trackeval's own reading and preprocessing of MOT17 files, and its HOTA and IDF1."""
    trackeval = pytest.importorskip("trackeval")
    paths = write_mot17_sequence(tmp_path)
    dataset = trackeval.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": str(tmp_path / "truth"),
            "TRACKERS_FOLDER": str(tmp_path / "results"),
            "SEQ_INFO": {"A": 60},
            "SKIP_SPLIT_FOL": True,
            "PRINT_CONFIG": False,
        }
    )
    data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("ours", "A"), "pedestrian")
    hota = trackeval.metrics.HOTA().eval_sequence(data)
    identity = trackeval.metrics.Identity({"PRINT_CONFIG": False}).eval_sequence(data)
    frames = match_frames(*read_mot(*paths)[0])
    ours = compute_hota([frames]) | {"IDF1": compute_track_scores(frames).idf1}
    assert ours == pytest.approx(
        {name: np.mean((hota | identity)[name]) for name in ("HOTA", "DetA", "AssA", "IDF1")}
    )
    assert sum(len(frame.found) for frame in frames) == data["num_tracker_dets"]
