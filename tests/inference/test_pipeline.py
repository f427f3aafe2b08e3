"""The pipeline: each frame comes out once, in order, as the predictor alone sees it; no thread is left."""

import gc
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import simplepose
from simplepose.frames import BadFrame, Frame
from simplepose.inference.pipeline import IN_A_ROW, Pipeline, Seen
from simplepose.people import People
from simplepose.synthetic.demo_images import write_samples

FAST = ["inference.height=128", "inference.flip=false"]


class Given:
    """A source of frames that are at hand; ends with a fault if one is given."""

    live, frames_per_second, name = False, None, "given"

    def __init__(self, frames, fault=None):
        self.frames, self.fault, self.total = frames, fault, None
        self.begun, self.closed = 0, 0

    def __iter__(self):
        for frame in self.frames:
            self.begun += 1
            yield frame
        if self.fault is not None:
            raise self.fault

    def close(self):
        self.closed += 1


class Sees:
    """In a predictor's place: the test says how long each step takes; a frame's people tell its number."""

    batch, passes, device = 3, 2, torch.device("cpu")

    def __init__(self, pause=lambda step, number: 0.0, fails=()):
        self.pause, self.fails, self.batches = pause, fails, []

    def _do(self, step, number):
        time.sleep(self.pause(step, number))
        if (step, number) in self.fails:
            raise RuntimeError(f"no luck\nwith {number}")

    def frame(self, image):
        number = int(image[0, 0, 0])
        self._do("frame", number)
        return type("Framed", (), {"shape": image.shape, "number": number, "to_picture": None})

    def see(self, pictures):
        self.batches.append([picture.number for picture in pictures])
        assert len({picture.shape for picture in pictures}) == 1
        for picture in pictures:
            self._do("see", picture.number)
        return [picture.number for picture in pictures]

    def group(self, maps, picture):
        assert maps == picture.number
        self._do("group", picture.number)
        return People(np.full((1, 17, 3), picture.number), np.ones(1))


def frames(count, shapes=((4, 6),)):
    return [Frame(n, f"{n}.jpg", np.full((*shapes[n % len(shapes)], 3), n, np.uint8)) for n in range(count)]


def numbers(results):
    """Of each result; a good one's people are its own."""
    for result in results:
        if isinstance(result, Seen):
            assert result.people.keypoints[0, 0, 0] == result.frame.number
        yield result.frame.number if isinstance(result, Seen) else result.number


@pytest.fixture(scope="module")
def mobile():
    """Loaded before threads are counted: OpenVINO keeps one of its own from when it is first imported."""
    return simplepose.load("imhn_mobile", settings_overrides=FAST, batch=2)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("threads", [1, 3])
def test_every_frame_comes_out_once_and_in_order(threads, rng):
    """Whichever step is slow for which frame, and whichever shapes follow each other."""
    pauses = rng.choice([0, 0, 0.004], (3, 40))
    predictor = Sees(lambda step, number: pauses[("frame", "see", "group").index(step), number])
    source = Given(frames(40, [(4, 6), (6, 4), (4, 6), (8, 8)]))
    order = []

    def track(people, frame):
        order.append(frame.number)
        return people

    pipeline = Pipeline(predictor, track, lambda frame, people, maps: frame.image.copy(), threads=threads)
    results = list(pipeline.run(source))
    assert list(numbers(results)) == order == list(range(40))
    assert all((result.drawn == result.frame.number).all() for result in results)
    assert max(map(len, predictor.batches)) <= 3
    assert source.closed
    assert {name: timing.count for name, timing in pipeline.timings.items()} == {
        "read": 40,
        **dict.fromkeys(("frame", "see", "group", "track", "draw", "write"), 40),
    }


def test_those_that_wait_go_through_the_network_together():
    all_wait = threading.Event()

    def pause(step, number):
        if (step, number) == ("frame", 9):
            all_wait.set()
        return 0 if step != "see" or all_wait.wait(30) else 1

    predictor = Sees(pause)
    list(Pipeline(predictor).run(Given(frames(10))))
    assert sorted(number for batch in predictor.batches for number in batch) == list(range(10))
    assert 3 in map(len, predictor.batches)


@pytest.mark.parametrize("step", ["frame", "see", "group"])
def test_a_frame_that_fails_is_told_in_its_place(step):
    predictor = Sees(fails={(step, 3), (step, 5)})
    given = frames(9)
    given[7] = BadFrame(7, "7.jpg", "cut off")
    results = list(Pipeline(predictor).run(Given(given)))
    assert list(numbers(results)) == list(range(9))
    bad = {result.number: result for result in results if isinstance(result, BadFrame)}
    assert set(bad) == {3, 5, 7}
    assert bad[3].name == "3.jpg"
    assert bad[3].reason.endswith("failed: no luck with 3")
    assert bad[7].reason == "cut off"


def test_when_all_fail_the_run_ends():
    predictor = Sees(fails={("see", number) for number in range(100)})
    seen = []
    with pytest.raises(ValueError, match=rf"{IN_A_ROW} frames in a row failed; the last, \d+.jpg: .*no luck"):
        seen += Pipeline(predictor).run(Given(frames(100)))


def test_unreadable_frames_in_a_row_are_the_frames_fault():
    bad = [BadFrame(number, "x", "no") for number in range(3 * IN_A_ROW)]
    assert list(Pipeline(Sees()).run(Given(bad))) == bad


def test_what_the_source_raises_is_raised_after_all_before_it():
    results = []
    run = Pipeline(Sees(lambda *_: 0.002)).run(Given(frames(8), ConnectionError("gone")))
    with pytest.raises(ConnectionError, match="gone"):
        results.extend(result for result in run)
    assert list(numbers(results)) == list(range(8))


def test_who_leaves_ends_it_all():
    source = Given(frames(100))
    results = Pipeline(Sees()).run(source)
    assert [next(results).frame.number for _ in range(3)] == [0, 1, 2]
    results.close()
    assert source.closed
    assert source.begun < 100


def test_a_slow_reader_of_results_holds_the_source_back():
    """And the room does not grow with the number of frames."""
    source = Given(frames(200))
    results = Pipeline(Sees()).run(source)
    most = 0
    for number, _ in enumerate(results):
        time.sleep(0.002)
        most = max(most, source.begun - number)
    assert most <= 2 + (3 + Sees.passes) * Sees.batch + 1


def test_a_live_source_is_asked_when_there_is_room():
    source = Given(frames(50))
    source.live = True
    most = max(source.begun - number for number, _ in enumerate(Pipeline(Sees()).run(source)))
    assert most <= 2 + Sees.batch + 1


def test_an_empty_source_gives_nothing():
    assert list(Pipeline(Sees()).run(Given([]))) == []


def test_it_finds_what_the_predictor_finds(mobile, tmp_path):
    pictures = [cv2.imread(str(path)) for path in map(Path, write_samples(tmp_path))]
    given = [Frame(n, str(n), image) for n, image in enumerate(pictures)]
    given.insert(1, BadFrame(9, "bad", "cut"))
    kept = []

    def draw(frame, people, maps):
        kept.append(maps.values.shape[0])
        return frame.image

    results = list(Pipeline(mobile, draw=draw, keep_maps=True).run(Given(given)))
    assert results.pop(1) is given[1]
    for image, result in zip(pictures, results, strict=True):
        assert np.allclose(result.people.keypoints, mobile(image).keypoints, atol=0.02)
    assert kept == [mobile.skeleton.channels] * len(pictures)
