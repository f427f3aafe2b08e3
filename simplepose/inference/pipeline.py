"""Find the people in the frames of a source, with every stage in threads of its own.

    read -> preprocess -> network -> group -> track -> draw -> write (the caller's loop)

Top-down, the network and grouping are a detector, and two stages follow: crop -> pose. The pose stage takes
the crops of all waiting frames together, so that crowds fill its batches.

In timings, preprocessing is called "frame" and the network "see". Frames leave the pipeline in the order in
which they were read. The number of frames in progress is limited: the slowest stage sets the pace, and memory
stays constant. A frame on which a stage fails becomes a `BadFrame` in its place, and the run continues.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor

from simplepose.frames import BadFrame, Frame, FrameSource
from simplepose.inference.concurrency import CudaStreams, limit_torch_threads
from simplepose.inference.crops import Crop
from simplepose.inference.detectors import Detections
from simplepose.inference.heatmaps import Maps
from simplepose.inference.preprocess import ModelInput
from simplepose.inference.stages import Stage, StagePipeline, Timing
from simplepose.inference.topdown import AnyPredictor, TopDownPredictor
from simplepose.people import People

T = TypeVar("T")

# Names of the stages between reading and writing -> how error messages call them.
STAGE_LABELS = {
    "frame": "preprocessing",
    "see": "the network",
    "group": "grouping",
    "crop": "cropping",
    "pose": "the pose network",
    "track": "tracking",
    "draw": "drawing",
}

# A run ends after this number of failures in a row, which cannot be the frames' fault.
MAX_CONSECUTIVE_FAILURES = 20

# Batches that may be in progress in addition to those in the network.
PREFETCH_BATCHES = 3

# Frames whose crops the pose stage takes together.
MAX_POSE_FRAMES = 8

TrackFunction = Callable[[People, Frame], People]
DrawFunction = Callable[[Frame, People, Maps | None], np.ndarray]


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The result for one frame.

    Attributes:
        frame: the source's frame.
        people: the people in it, with ids if they are tracked.
        visualization: what the pipeline's `draw` returned, (H, W, 3) uint8 BGR; None without `draw`.
    """

    frame: Frame
    people: People
    visualization: np.ndarray | None = None


class Pipeline:
    """Finds the people in the frames of a source.

    Args:
        predictor: runs the stages; its `batch` and `max_concurrent_forwards` apply to the network.
        track: (people, frame) -> people with ids; called in the order of the frames.
        draw: (frame, people, maps) -> an image; maps are None unless `keep_maps` is set.
        keep_maps: whether `draw` gets the maps.
        threads: threads of each stage that may process several frames at once: preprocessing, grouping and
            drawing.

    Attributes:
        timings: of each stage, seconds a frame. The time of a batch is split among its frames. A stage with
            several threads has the times of each thread.
    """

    def __init__(
        self,
        predictor: AnyPredictor,
        track: TrackFunction | None = None,
        draw: DrawFunction | None = None,
        keep_maps: bool = False,
        threads: int = 1,
    ) -> None:
        self._predictor, self._keep_maps = predictor, keep_maps
        self._streams = CudaStreams(predictor.device)
        self._stages_before = [Stage("frame", self._preprocess, threads)]
        self._stages_after = [Stage("group", self._group, threads)]
        if isinstance(predictor, TopDownPredictor):
            self._stages_after += self._top_down_stages(predictor, threads)
        if track is not None:
            self._stages_after.append(Stage("track", _tracking_stage(track), in_order=True))
        if draw is not None:
            self._stages_after.append(Stage("draw", _drawing_stage(draw), threads))
        names = ("read", "frame", "see", *(stage.name for stage in self._stages_after), "write")
        self.timings = {name: Timing() for name in names}

    def run(self, source: FrameSource) -> Generator[FrameResult | BadFrame, None, None]:
        """Yield the result of each frame in order; a frame that is unreadable or fails is a `BadFrame`.

        Leaving the iteration ends all threads and closes the source.

        Raises:
            Exception: what the source raised, after the results of all earlier frames.
            ValueError: too many frames in a row failed.
        """
        # A live source needs low latency: one forward pass at a time, on the newest frames.
        forwards = 1 if source.live else self._predictor.max_concurrent_forwards
        network = Stage(
            "see",
            self._infer,
            forwards,
            self._predictor.batch,
            _batch_key,
            initializer=limit_torch_threads(forwards),
        )
        stages = [*self._stages_before, network, *self._stages_after]
        prefetch = 0 if source.live else PREFETCH_BATCHES
        items = _read_items(source)
        pipeline = StagePipeline(
            items, stages, self.timings, 2 + self._predictor.batch * (forwards + prefetch)
        )
        try:
            yield from self._results(pipeline)
        finally:
            pipeline.stop()
            source.close()
            pipeline.join()
            items.close()
        if pipeline.failure is not None:
            raise pipeline.failure

    def _results(self, pipeline: StagePipeline[_FrameItem]) -> Iterator[FrameResult | BadFrame]:
        failures = 0
        for item in pipeline:
            failures = failures + 1 if item.failed and not isinstance(item.frame, BadFrame) else 0
            result = item.result()
            start = time.perf_counter()
            yield result
            self.timings["write"].add(time.perf_counter() - start)
            if failures >= MAX_CONSECUTIVE_FAILURES and isinstance(result, BadFrame):
                raise ValueError(
                    f"{failures} frames in a row failed; the last, {result.name}: {result.reason}"
                )

    def _top_down_stages(self, predictor: TopDownPredictor, threads: int) -> list[Stage[_FrameItem]]:
        """Build the stages that turn detections into people."""

        def crop(items: Sequence[_FrameItem]) -> None:
            for item in items:
                item.crops = predictor.crop(item.readable_frame.image, _require(item.detections))
                item.detections = None

        def find_people(items: Sequence[_FrameItem]) -> None:
            with self._streams.synchronized():
                people = predictor.find_people([_require(item.crops) for item in items])
            for item, found in zip(items, people, strict=True):
                item.people, item.crops = found, None

        return [
            Stage("crop", crop, threads),
            Stage("pose", find_people, 1, MAX_POSE_FRAMES, batch_key=lambda item: None),
        ]

    def _preprocess(self, items: Sequence[_FrameItem]) -> None:
        for item in items:
            item.model_input = self._predictor.preprocess_frame(item.readable_frame)

    def _infer(self, items: Sequence[_FrameItem]) -> None:
        with self._streams.synchronized():
            batch = self._predictor.infer([_require(item.model_input) for item in items])
        for item, maps in zip(items, batch, strict=True):
            item.maps = maps

    def _group(self, items: Sequence[_FrameItem]) -> None:
        for item in items:
            maps, model_input = _require(item.maps), _require(item.model_input)
            with self._streams.side_stream():
                grouped = self._predictor.group(maps, model_input)
                if isinstance(grouped, Detections):
                    item.detections = grouped
                else:
                    item.people = grouped
                item.kept_maps = Maps(maps.cpu().numpy(), model_input.to_image) if self._keep_maps else None
            item.maps = item.model_input = None


@dataclass(eq=False)
class _FrameItem:
    """A frame in progress, with the outputs of the stages so far."""

    index: int
    frame: Frame | BadFrame
    failure: BadFrame | None = None
    model_input: ModelInput | None = None
    maps: Tensor | None = None
    kept_maps: Maps | None = None
    detections: Detections | None = None
    crops: tuple[list[Crop], Detections] | None = None
    people: People | None = None
    visualization: np.ndarray | None = None

    @property
    def failed(self) -> bool:
        return self.failure is not None

    def fail(self, stage: str, error: Exception) -> None:
        reason = f"{STAGE_LABELS[stage]} failed: {str(error).strip() or type(error).__name__}"
        self.failure = BadFrame(self.frame.number, self.frame.name, " ".join(reason.split()))

    @property
    def readable_frame(self) -> Frame:
        """The frame of an item that has not failed."""
        assert isinstance(self.frame, Frame)
        return self.frame

    def result(self) -> FrameResult | BadFrame:
        return self.failure or FrameResult(self.readable_frame, _require(self.people), self.visualization)


def _read_items(source: FrameSource) -> Generator[_FrameItem, None, None]:
    for index, frame in enumerate(source):
        yield _FrameItem(index, frame, frame if isinstance(frame, BadFrame) else None)


def _batch_key(item: _FrameItem) -> Hashable:
    return item.model_input.shape if item.model_input is not None else None


def _tracking_stage(track: TrackFunction) -> Callable[[Sequence[_FrameItem]], None]:
    def run(items: Sequence[_FrameItem]) -> None:
        for item in items:
            item.people = track(_require(item.people), item.readable_frame)

    return run


def _drawing_stage(draw: DrawFunction) -> Callable[[Sequence[_FrameItem]], None]:
    def run(items: Sequence[_FrameItem]) -> None:
        for item in items:
            item.visualization = draw(item.readable_frame, _require(item.people), item.kept_maps)
            item.kept_maps = None

    return run


def _require(value: T | None) -> T:
    """Return the output of an earlier stage, which cannot be None."""
    assert value is not None
    return value
