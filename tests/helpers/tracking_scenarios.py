"""Inputs of tracking tests: people at given positions, and videos with simulated detections."""

import numpy as np
import simulated_detector
from synthetic_video import SyntheticVideo

from simplepose.people import NO_ID, People

STANDING_XY = SyntheticVideo(0, 1, 1).truth(0).keypoints[0, :, :2]
BODY_SIZE_PX = float(np.ptp(STANDING_XY, axis=0).max())


def people_at(*offsets, score=0.7, joints=slice(None), shape=STANDING_XY):
    """Create people of one shape, each moved by an (x, y) offset in pixels."""
    keypoints = np.zeros((len(offsets), len(shape), 3), np.float32)
    for person, offset in zip(keypoints, offsets, strict=True):
        person[joints, :2] = shape[joints] + offset
        person[joints, 2] = 0.8
    return People(keypoints, np.full(len(offsets), score, np.float32))


def count_id_switches(tracked_frames):
    """Count how often a person gets another id than before, in the result of `track_video`."""
    last, switches = {}, 0
    for person_indices, ids, _ in tracked_frames:
        for person, id_ in zip(person_indices.tolist(), ids.tolist(), strict=True):
            if person >= 0 and id_ != NO_ID:
                switches += last.get(person, id_) != id_
                last[person] = id_
    return switches


def no_people(joints=17):
    return People.empty(joints)


def track_video(
    tracker, video, seed, errors=simulated_detector.TYPICAL_ERRORS, shuffle=None, with_images=False
):
    """Track the simulated detections of a video.

    Args:
        shuffle: a generator that shuffles the people of each frame before they are tracked.
        with_images: pass the drawn frames to the tracker.

    Returns:
        [(index of the true person or -1, id, keypoints)] of each frame, one row for each detected person.
    """
    rng, tracked_frames = np.random.default_rng(seed), []
    for frame_index in range(len(video)):
        truth = video.truth(frame_index)
        people, person_indices = simulated_detector.simulate_detections(
            rng, truth.keypoints, truth.areas, video.size_hw, errors
        )
        order = np.arange(len(people)) if shuffle is None else shuffle.permutation(len(people))
        inverse_order = np.argsort(order)
        image = video.draw(frame_index)[0].image if with_images else None
        tracked = tracker(People(people.keypoints[order], people.scores[order]), image=image)
        tracked_frames.append((person_indices, tracked.ids[inverse_order], tracked.keypoints[inverse_order]))
    return tracked_frames
