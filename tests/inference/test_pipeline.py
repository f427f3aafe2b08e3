"""The pipeline: each frame comes out once, in order, as from the predictor alone, and no thread remains."""

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
from simplepose.inference.pipeline import MAX_CONSECUTIVE_FAILURES, FrameResult, Pipeline
from simplepose.people import People
from simplepose.synthetic.demo_images import write_demo_images

FAST = ["inference.height=128", "inference.flip=false"]


class ListSource:
    """A list of frames as a source; raises `error` at the end if one is given."""

    live, frames_per_second, name = False, None, "fake"

    def __init__(self, frames, error=None):
        self.frames, self.error, self.total = frames, error, None
        self.read_count, self.closed = 0, 0

    def __iter__(self):
        for frame in self.frames:
            self.read_count += 1
            yield frame
        if self.error is not None:
            raise self.error

    def close(self):
        self.closed += 1


class ScriptedPredictor:
    """A predictor with given delays and failures; the keypoints of a frame's people are its number."""

    batch, max_concurrent_forwards, device = 3, 2, torch.device("cpu")

    def __init__(self, delay=lambda stage, number: 0.0, failures=()):
        self.delay, self.failures, self.batches = delay, failures, []

    def _run(self, stage, number):
        time.sleep(self.delay(stage, number))
        if (stage, number) in self.failures:
            raise RuntimeError(f"no luck\nwith {number}")

    def preprocess_frame(self, frame):
        number = int(frame.image[0, 0, 0])
        self._run("frame", number)
        return type("FakeModelInput", (), {"shape": frame.image.shape, "number": number, "to_image": None})

    def infer(self, inputs):
        self.batches.append([model_input.number for model_input in inputs])
        assert len({model_input.shape for model_input in inputs}) == 1
        for model_input in inputs:
            self._run("see", model_input.number)
        return [model_input.number for model_input in inputs]

    def group(self, maps, model_input):
        assert maps == model_input.number
        self._run("group", model_input.number)
        return People(np.full((1, 17, 3), model_input.number), np.ones(1))


def make_frames(count, shapes=((4, 6),)):
    return [Frame(n, f"{n}.jpg", np.full((*shapes[n % len(shapes)], 3), n, np.uint8)) for n in range(count)]


def frame_numbers(results):
    """Yield the frame number of each result, and check that good frames have their own people."""
    for result in results:
        if isinstance(result, FrameResult):
            assert result.people.keypoints[0, 0, 0] == result.frame.number
        yield result.frame.number if isinstance(result, FrameResult) else result.number


@pytest.fixture(scope="module")
def mobile():
    """Load the network before threads are counted: OpenVINO keeps a thread from its first import on."""
    return simplepose.load("imhn_mobile", settings_overrides=FAST, batch=2)


@pytest.fixture(autouse=True)
def check_no_thread_remains():
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("threads", [1, 3])
def test_every_frame_comes_out_once_and_in_order(threads, rng):
    """Any stage can be slow for any frame, and shapes change from frame to frame."""
    delays = rng.choice([0, 0, 0.004], (3, 40))
    predictor = ScriptedPredictor(
        lambda stage, number: delays[("frame", "see", "group").index(stage), number]
    )
    source = ListSource(make_frames(40, [(4, 6), (6, 4), (4, 6), (8, 8)]))
    tracked = []

    def track(people, frame):
        tracked.append(frame.number)
        return people

    pipeline = Pipeline(predictor, track, lambda frame, people, maps: frame.image.copy(), threads=threads)
    results = list(pipeline.run(source))
    assert list(frame_numbers(results)) == tracked == list(range(40))
    assert all((result.visualization == result.frame.number).all() for result in results)
    assert max(map(len, predictor.batches)) <= 3
    assert source.closed
    assert {name: timing.count for name, timing in pipeline.timings.items()} == {
        "read": 40,
        **dict.fromkeys(("frame", "see", "group", "track", "draw", "write"), 40),
    }


def test_waiting_frames_share_batches():
    all_wait = threading.Event()

    def delay(stage, number):
        if (stage, number) == ("frame", 9):
            all_wait.set()
        return 0 if stage != "see" or all_wait.wait(30) else 1

    predictor = ScriptedPredictor(delay)
    list(Pipeline(predictor).run(ListSource(make_frames(10))))
    assert sorted(number for batch in predictor.batches for number in batch) == list(range(10))
    assert 3 in map(len, predictor.batches)


@pytest.mark.parametrize("stage", ["frame", "see", "group"])
def test_a_frame_that_fails_becomes_a_bad_frame_in_its_place(stage):
    predictor = ScriptedPredictor(failures={(stage, 3), (stage, 5)})
    frames = make_frames(9)
    frames[7] = BadFrame(7, "7.jpg", "cut off")
    results = list(Pipeline(predictor).run(ListSource(frames)))
    assert list(frame_numbers(results)) == list(range(9))
    bad = {result.number: result for result in results if isinstance(result, BadFrame)}
    assert set(bad) == {3, 5, 7}
    assert bad[3].name == "3.jpg"
    assert bad[3].reason.endswith("failed: no luck with 3")
    assert bad[7].reason == "cut off"


def test_too_many_consecutive_failures_end_the_run():
    predictor = ScriptedPredictor(failures={("see", number) for number in range(100)})
    results = []
    message = rf"{MAX_CONSECUTIVE_FAILURES} frames in a row failed; the last, \d+.jpg: .*no luck"
    with pytest.raises(ValueError, match=message):
        results += Pipeline(predictor).run(ListSource(make_frames(100)))


def test_many_consecutive_unreadable_frames_do_not_end_the_run():
    bad = [BadFrame(number, "x", "no") for number in range(3 * MAX_CONSECUTIVE_FAILURES)]
    assert list(Pipeline(ScriptedPredictor()).run(ListSource(bad))) == bad


def test_an_error_of_the_source_is_raised_after_all_earlier_results():
    results = []
    source = ListSource(make_frames(8), ConnectionError("gone"))
    run = Pipeline(ScriptedPredictor(lambda *_: 0.002)).run(source)
    with pytest.raises(ConnectionError, match="gone"):
        results.extend(result for result in run)
    assert list(frame_numbers(results)) == list(range(8))


def test_leaving_the_iteration_ends_the_pipeline():
    source = ListSource(make_frames(100))
    results = Pipeline(ScriptedPredictor()).run(source)
    assert [next(results).frame.number for _ in range(3)] == [0, 1, 2]
    results.close()
    assert source.closed
    assert source.read_count < 100


def test_a_slow_consumer_limits_the_frames_in_progress():
    """The limit does not grow with the number of frames."""
    source = ListSource(make_frames(200))
    results = Pipeline(ScriptedPredictor()).run(source)
    max_in_progress = 0
    for number, _ in enumerate(results):
        time.sleep(0.002)
        max_in_progress = max(max_in_progress, source.read_count - number)
    assert (
        max_in_progress <= 2 + (3 + ScriptedPredictor.max_concurrent_forwards) * ScriptedPredictor.batch + 1
    )


def test_a_live_source_is_not_read_in_advance():
    source = ListSource(make_frames(50))
    source.live = True
    results = Pipeline(ScriptedPredictor()).run(source)
    max_in_progress = max(source.read_count - number for number, _ in enumerate(results))
    assert max_in_progress <= 2 + ScriptedPredictor.batch + 1


def test_an_empty_source_gives_no_results():
    assert list(Pipeline(ScriptedPredictor()).run(ListSource([]))) == []


def test_pipeline_finds_the_same_people_as_the_predictor(mobile, tmp_path):
    images = [cv2.imread(str(path)) for path in map(Path, write_demo_images(tmp_path))]
    frames = [Frame(n, str(n), image) for n, image in enumerate(images)]
    frames.insert(1, BadFrame(9, "bad", "cut"))
    channels = []

    def draw(frame, people, maps):
        channels.append(maps.values.shape[0])
        return frame.image

    results = list(Pipeline(mobile, draw=draw, keep_maps=True).run(ListSource(frames)))
    assert results.pop(1) is frames[1]
    for image, result in zip(images, results, strict=True):
        assert np.allclose(result.people.keypoints, mobile(image).keypoints, atol=0.02)
    assert channels == [mobile.skeleton.channels] * len(images)
