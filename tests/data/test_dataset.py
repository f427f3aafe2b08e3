"""Samples and batches are the same for the same seed and any number of workers."""

import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from published_hdf5 import write_published
from repo_paths import CONFIGS, ROOT

from simplepose import config
from simplepose.data.batch import collate
from simplepose.data.dataset import EpochSampler, TrainingSamples
from simplepose.data.hdf5.layout import NativeSamples
from simplepose.data.loader import BatchLoader
from simplepose.skeleton import COCO


def make(path, *overrides, augmented=True):
    return TrainingSamples(path, config.load(CONFIGS / "smoke.yaml", overrides), COCO, augmented)


def test_a_sample_depends_only_on_seed_epoch_and_index(samples_file):
    first, second = make(samples_file), pickle.loads(pickle.dumps(make(samples_file)))
    assert np.array_equal(first[(3, 1)].image, second[(3, 1)].image)
    assert not np.array_equal(first[(3, 1)].image, first[(4, 1)].image)
    other_seed = make(samples_file, "train.seed=1")
    assert not np.array_equal(first[(3, 1)].image, other_seed[(3, 1)].image)


def test_reading_a_sample_takes_at_most_four_calls(samples_file):
    """`__getitem__` makes at most four calls, and at most four calls are nested down to the file's reader."""
    samples, called, nested = make(samples_file), [], []
    start, reader = TrainingSamples.__getitem__.__code__, NativeSamples.record.__code__

    def trace(frame, event, _):
        if event != "call" or not frame.f_code.co_filename.startswith(f"{ROOT}/simplepose/"):
            return
        if frame.f_back.f_code is start:
            called.append(frame.f_code.co_name)
        if frame.f_code is reader:
            while frame.f_code is not start:
                nested.append(frame.f_code.co_name)
                frame = frame.f_back

    sys.setprofile(trace)
    try:
        samples[(0, 0)]
    finally:
        sys.setprofile(None)
    assert set(called) >= {"record", "apply"}
    assert len(called) <= 4, called
    assert 1 <= len(nested) <= 4, nested


def test_without_augmentation_every_epoch_is_the_same(samples_file):
    samples = make(samples_file, augmented=False)
    assert np.array_equal(samples[(0, 0)].image, samples[(9, 0)].image)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_batches(samples_file, workers):
    def batches(count):
        samples = make(samples_file, f"train.workers={count}")
        sampler = EpochSampler(len(samples), 5)
        sampler.epoch = 2
        return list(BatchLoader(samples, sampler))

    in_process, in_workers = batches(0), batches(workers)
    assert len(in_process) == len(in_workers) > 1
    for a, b in zip(in_process, in_workers, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_an_epoch_can_be_resumed_anywhere():
    sampler = EpochSampler(10, 7)
    sampler.epoch = 1
    whole = list(sampler)
    sampler.start = 4
    assert list(sampler) == whole[4:]
    assert len(sampler) == 6
    assert sorted(index for _, index in whole) == list(range(10))
    sampler.epoch, sampler.start = 2, 0
    assert [i for _, i in sampler] != [i for _, i in whole]


@pytest.mark.parametrize("start", [0, 12])
def test_ranks_share_an_epoch(start):
    """Each sample once, in complete steps; a step has the same samples as one rank with the whole batch."""
    ranks = [EpochSampler(100, 3, batch_size=2, rank=rank, world_size=3) for rank in range(3)]
    single_rank = EpochSampler(100, 3, batch_size=6)
    for sampler in (*ranks, single_rank):
        sampler.epoch, sampler.start = 4, start
    indices_of_ranks = [[index for _, index in sampler] for sampler in ranks]
    assert {len(indices) for indices in indices_of_ranks} == {len(ranks[0])} == {2 * ((100 - start) // 6)}
    interleaved = np.array(indices_of_ranks).reshape(3, -1, 2).transpose(1, 0, 2)
    assert interleaved.ravel().tolist() == [index for _, index in single_rank]
    assert len(set(interleaved.ravel().tolist())) == interleaved.size


def test_an_incomplete_step_is_left_out():
    sampler = EpochSampler(5, 0, batch_size=4, world_size=2)
    assert (sampler.steps, len(sampler), list(sampler)) == (0, 0, [])
    sampler.start = 8
    assert sampler.steps == 0


def test_batches_have_the_documented_shapes(samples_file):
    samples = make(samples_file)
    batch = collate([samples[(0, i)] for i in range(3)])
    people = max(len(samples[(0, i)].joints) for i in range(3))
    assert batch.images.shape == (3, 128, 192, 3)
    assert batch.mask_miss.shape == batch.person_mask.shape == (3, 32, 48)
    assert batch.joints.shape == (3, people, 18, 3)
    assert batch.images.dtype == batch.mask_miss.dtype == torch.uint8


def test_image_framing_uses_each_image_once(samples_file):
    by_person, by_image = make(samples_file), make(samples_file, "augment.framing=image")
    expected_ids = {by_person.record((0, i)).image_id for i in range(len(by_person))}
    image_ids = [by_image.record((0, i)).image_id for i in range(len(by_image))]
    assert sorted(image_ids) == sorted(expected_ids)


def test_a_skeleton_with_other_joints_is_rejected(samples_file):
    order = [*COCO.annotated[1:], COCO.annotated[0]]
    other = replace(COCO, name="other", annotated=tuple(order))
    with pytest.raises(
        ValueError,
        match=r"drawn.h5: expected the annotated joints of the skeleton 'other': left_eye.*; got nose",
    ):
        TrainingSamples(samples_file, config.load(CONFIGS / "smoke.yaml"), other)


def test_the_crop_of_a_published_file_is_a_setting(tmp_path):
    write_published(tmp_path / "p.h5", crop=384)
    assert make(tmp_path / "p.h5", "augment.published_crop=384").record((0, 1)).height == pytest.approx(128)


STRONG = [
    *("augment.copy_paste_probability=1", "augment.half_body_probability=0.5", "augment.erase_probability=1"),
    *("augment.blur_probability=1", "augment.jpeg_probability=0.5", "augment.jitter_probability=1"),
]


def test_pasted_people_are_sampled_from_the_file(samples_file):
    samples, plain = make(samples_file, "augment.copy_paste_probability=1"), make(samples_file)
    keys = [(epoch, index) for epoch in range(5) for index in range(len(plain))]
    added = [len(samples[key].joints) - len(plain[key].joints) for key in keys]
    assert min(added) >= 0
    assert max(added) >= 1
    repeated = make(samples_file, "augment.copy_paste_probability=1")
    assert np.array_equal(samples[(5, 1)].image, repeated[(5, 1)].image)


def test_workers_do_not_change_strongly_augmented_batches(samples_file):
    def batches(count):
        samples = make(samples_file, f"train.workers={count}", *STRONG)
        return list(BatchLoader(samples, EpochSampler(len(samples), 5)))

    for a, b in zip(batches(0), batches(2), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_without_augmentation_no_augmentation_is_applied(samples_file):
    strong, plain = (make(samples_file, *added, augmented=False) for added in (STRONG, []))
    assert np.array_equal(strong[(0, 1)].image, plain[(0, 1)].image)
