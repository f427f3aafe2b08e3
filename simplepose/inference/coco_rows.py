"""The people in annotated pictures, as rows of COCO's result format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simplepose.inference import running
from simplepose.inference.pipeline import Pipeline, Seen
from simplepose.inference.predictor import Predictor
from simplepose.inference.running import Run
from simplepose.inference.sources import PictureSource, Source, SourceOptions


def coco_rows(
    predictor: Predictor, pictures: Sequence[Source], threads: int = 1, bar: bool = True
) -> tuple[list[dict[str, Any]], Run]:
    """Run a predictor over pictures as they are stored, which is how they are annotated.

    Args:
        pictures: what to read; rows have their `image_id`.
        threads: that read, and of each step beside the network.
        bar: whether progress is shown.

    Returns:
        The rows, and what became of the run, which may have been ended early.
    """
    rows: list[dict[str, Any]] = []

    def keep(seen: Seen) -> None:
        rows.extend(seen.people.to_coco_rows(pictures[seen.frame.number].image_id))

    source = PictureSource(pictures, SourceOptions(upright=False, readers=threads))
    return rows, running.run(Pipeline(predictor, threads=threads), source, keep, bar=bar)
