"""Samples and batches: the same for the same seed, whatever the workers."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from places import CONFIGS
from published_hdf5 import write_published

from simplepose import config
from simplepose.data.batch import collate
from simplepose.data.dataset import EpochSampler, TrainingSamples
from simplepose.data.loader import Loader
from simplepose.skeleton import COCO


def make(path, *overrides, augmented=True):
    return TrainingSamples(path, config.load(CONFIGS / "smoke.yaml", overrides), COCO, augmented)


def test_a_sample_depends_on_epoch_and_index_alone(samples_file):
    first, second = make(samples_file), pickle.loads(pickle.dumps(make(samples_file)))
    assert np.array_equal(first[(3, 1)].image, second[(3, 1)].image)
    assert not np.array_equal(first[(3, 1)].image, first[(4, 1)].image)
    other_seed = make(samples_file, "train.seed=1")
    assert not np.array_equal(first[(3, 1)].image, other_seed[(3, 1)].image)


def test_without_augmentation_every_epoch_is_the_same(samples_file):
    samples = make(samples_file, augmented=False)
    assert np.array_equal(samples[(0, 0)].image, samples[(9, 0)].image)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(samples_file, workers):
    def batches(count):
        samples = make(samples_file, f"train.workers={count}")
        sampler = EpochSampler(len(samples), 5)
        sampler.epoch = 2
        return list(Loader(samples, sampler))

    alone, together = batches(0), batches(workers)
    assert len(alone) == len(together) > 1
    for a, b in zip(alone, together, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_an_epoch_can_be_entered_anywhere():
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
def test_processes_share_an_epoch(start):
    """Each sample once, in whole steps, the same in a step as one process with the whole batch has."""
    shares = [EpochSampler(100, 3, batch=2, rank=rank, size=3) for rank in range(3)]
    alone = EpochSampler(100, 3, batch=6)
    for sampler in (*shares, alone):
        sampler.epoch, sampler.start = 4, start
    taken = [[index for _, index in sampler] for sampler in shares]
    assert {len(indices) for indices in taken} == {len(shares[0])} == {2 * ((100 - start) // 6)}
    together = np.array(taken).reshape(3, -1, 2).transpose(1, 0, 2)
    assert together.ravel().tolist() == [index for _, index in alone]
    assert len(set(together.ravel().tolist())) == together.size


def test_samples_that_fill_no_step_are_left_out():
    sampler = EpochSampler(5, 0, batch=4, size=2)
    assert (sampler.steps, len(sampler), list(sampler)) == (0, 0, [])
    sampler.start = 8
    assert sampler.steps == 0


def test_batches_have_the_stated_shapes(samples_file):
    samples = make(samples_file)
    batch = collate([samples[(0, i)] for i in range(3)])
    people = max(len(samples[(0, i)].joints) for i in range(3))
    assert batch.images.shape == (3, 128, 192, 3)
    assert batch.mask_miss.shape == batch.person_mask.shape == (3, 32, 48)
    assert batch.joints.shape == (3, people, 18, 3)
    assert batch.images.dtype == batch.mask_miss.dtype == torch.uint8


def test_framing_by_picture_takes_each_picture_once(samples_file):
    by_person, by_picture = make(samples_file), make(samples_file, "augment.framing=picture")
    pictures = {by_person.record((0, i)).image_id for i in range(len(by_person))}
    chosen = [by_picture.record((0, i)).image_id for i in range(len(by_picture))]
    assert sorted(chosen) == sorted(pictures)


def test_a_skeleton_with_other_joints_is_refused(samples_file):
    order = [*COCO.annotated[1:], COCO.annotated[0]]
    other = replace(COCO, name="other", annotated=tuple(order))
    with pytest.raises(
        ValueError, match=r"drawn.h5: its people have the joints nose, .*'other' expects left_eye"
    ):
        TrainingSamples(samples_file, config.load(CONFIGS / "smoke.yaml"), other)


def test_the_crop_of_a_published_file_is_a_setting(tmp_path):
    write_published(tmp_path / "p.h5", crop=384)
    assert make(tmp_path / "p.h5", "augment.published_crop=384").record((0, 1)).height == pytest.approx(128)


STRONG = [
    *("augment.copy_paste_probability=1", "augment.half_body_probability=0.5", "augment.erase_probability=1"),
    *("augment.noise_probability=1", "augment.jpeg_probability=0.5", "augment.jitter_probability=1"),
]


def test_pasted_people_come_from_the_file_by_chance(samples_file):
    samples, plain = make(samples_file, "augment.copy_paste_probability=1"), make(samples_file)
    places = [(epoch, index) for epoch in range(5) for index in range(len(plain))]
    more = [len(samples[place].joints) - len(plain[place].joints) for place in places]
    assert min(more) >= 0
    assert max(more) >= 1
    again = make(samples_file, "augment.copy_paste_probability=1")
    assert np.array_equal(samples[(5, 1)].image, again[(5, 1)].image)


def test_workers_change_nothing_of_strong_augmentation(samples_file):
    def batches(count):
        samples = make(samples_file, f"train.workers={count}", *STRONG)
        return list(Loader(samples, EpochSampler(len(samples), 5)))

    for a, b in zip(batches(0), batches(2), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_without_augmentation_nothing_is_on(samples_file):
    strong, plain = (make(samples_file, *more, augmented=False) for more in (STRONG, []))
    assert np.array_equal(strong[(0, 1)].image, plain[(0, 1)].image)
