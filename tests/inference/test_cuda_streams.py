"""A pipeline on a GPU: it finds what the predictor finds, and nobody waits behind whole batches."""

import numpy as np
import pytest
import torch

import simplepose
from simplepose.frames import Frame
from simplepose.inference.concurrency import Queues
from simplepose.inference.pipeline import Pipeline
from simplepose.synthetic.scenes import draw_scene

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def test_other_devices_have_no_queues():
    queues = Queues(torch.device("cpu"))
    with queues.finished(), queues.beside():
        assert torch.ones(2).sum() == 2


@GPU
def test_what_is_finished_is_done_and_what_is_beside_does_not_wait_for_more():
    device = torch.device("cuda")
    queues, large = Queues(device), torch.ones(8192, 8192, device=device)
    with queues.finished():
        product = large @ large
    assert torch.cuda.current_stream().query()
    for _ in range(50):
        large @ large
    with queues.beside():
        assert product.sum(1)[:2].cpu().tolist() == [8192.0**2] * 2
    assert not torch.cuda.current_stream().query()


@GPU
@pytest.mark.parametrize("run", ["eager", "graphs"])
def test_on_a_gpu_a_pipeline_finds_what_the_predictor_finds(run, rng):
    predictor = simplepose.load(
        "imhn_mobile", "cuda", settings_overrides=["inference.height=128"], batch=4, run=run
    )
    images = [draw_scene(rng, (128, 128 + 64 * (n % 3)), 2).image for n in range(60)]
    frames = [Frame(number, f"{number}.png", image) for number, image in enumerate(images)]
    seen = list(Pipeline(predictor, threads=2).run(Given(frames)))
    assert [each.frame.number for each in seen] == list(range(len(frames)))
    for each in seen:
        expected = predictor(each.frame.image)
        assert len(each.people) == len(expected)
        assert np.allclose(each.people.keypoints, expected.keypoints, atol=0.5)


class Given(list):
    """A source of frames that are at hand."""

    live, frames_per_second, name, total = False, None, "given", None

    def close(self):
        """Nothing to let go of."""
