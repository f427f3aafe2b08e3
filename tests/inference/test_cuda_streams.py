"""The pipeline on a GPU: its results equal the predictor's, and the side stream does not wait for batches."""

import numpy as np
import pytest
import torch
from test_pipeline import ListSource

import simplepose
from simplepose.frames import Frame
from simplepose.inference.concurrency import CudaStreams
from simplepose.inference.pipeline import Pipeline
from simplepose.synthetic.scenes import draw_scene


def test_on_other_devices_the_streams_do_nothing():
    streams = CudaStreams(torch.device("cpu"))
    with streams.synchronized(), streams.side_stream():
        assert torch.ones(2).sum() == 2


@pytest.mark.gpu
def test_synchronized_work_is_done_and_the_side_stream_does_not_wait_for_later_work():
    device = torch.device("cuda")
    streams, large = CudaStreams(device), torch.ones(8192, 8192, device=device)
    with streams.synchronized():
        product = large @ large
    assert torch.cuda.current_stream().query()
    for _ in range(50):
        large @ large
    with streams.side_stream():
        assert product.sum(1)[:2].cpu().tolist() == [8192.0**2] * 2
    assert not torch.cuda.current_stream().query()


@pytest.mark.gpu
@pytest.mark.parametrize("run", ["eager", "graphs"])
def test_pipeline_on_a_gpu_equals_the_predictor(run, rng):
    predictor = simplepose.load(
        "imhn_mobile", "cuda", settings_overrides=["inference.height=128"], batch=4, run=run
    )
    images = [draw_scene(rng, (128, 128 + 64 * (n % 3)), 2).image for n in range(60)]
    frames = [Frame(number, f"{number}.png", image) for number, image in enumerate(images)]
    results = list(Pipeline(predictor, threads=2).run(ListSource(frames)))
    assert [result.frame.number for result in results] == list(range(len(frames)))
    for result in results:
        expected = predictor(result.frame.image)
        assert len(result.people) == len(expected)
        assert np.allclose(result.people.keypoints, expected.keypoints, atol=0.5)
