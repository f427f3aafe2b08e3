"""People for the tracking's tests: somebody who stands here and there, and films as a network sees them."""

import finding
import numpy as np
from synthetic_video import Film

from simplepose.people import NO_ID, People

STANDING = Film(0, 1, 1).shot(0).keypoints[0, :, :2]
SIZE = float(np.ptp(STANDING, axis=0).max())


def people_at(*places, score=0.7, joints=slice(None), shape=STANDING):
    """People of one shape, moved by (x, y) pixels each."""
    keypoints = np.zeros((len(places), len(shape), 3), np.float32)
    for person, place in zip(keypoints, places, strict=True):
        person[joints, :2] = shape[joints] + place
        person[joints, 2] = 0.8
    return People(keypoints, np.full(len(places), score, np.float32))


def switches(told):
    """How often somebody got another id than the time before; told as `followed` gives it."""
    last, count = {}, 0
    for who, ids, _ in told:
        for person, name in zip(who.tolist(), ids.tolist(), strict=True):
            if person >= 0 and name != NO_ID:
                count += last.get(person, name) != name
                last[person] = name
    return count


def nobody(joints=17):
    return People.nobody(joints)


def followed(tracker, film, seed, faults=finding.USUAL, shuffle=None, drawn=False):
    """[(who, id, found joints)] of each frame; `drawn`: the tracker sees the frames."""
    rng, told = np.random.default_rng(seed), []
    for number in range(len(film)):
        shot = film.shot(number)
        people, who = finding.find(rng, shot.keypoints, shot.areas, film.size_hw, faults)
        order = np.arange(len(people)) if shuffle is None else shuffle.permutation(len(people))
        back = np.argsort(order)
        image = film.draw(number)[0].image if drawn else None
        tracked = tracker(People(people.keypoints[order], people.scores[order]), image=image)
        told.append((who, tracked.ids[back], tracked.keypoints[back]))
    return told
