"""HDF5 files of training samples: round trips in both layouts, and damage is reported."""

import multiprocessing
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from prepared_images import (
    STORES,
    all_records,
    assert_records_equal,
    header,
    image_without_people,
    write_and_prepare,
)
from published_hdf5 import write_published
from torch.utils.data import DataLoader

from simplepose.data.hdf5 import layout
from simplepose.data.hdf5.reader import DamagedRecordError, SampleFile
from simplepose.data.hdf5.writer import build_file
from simplepose.data.record import Issue
from simplepose.skeleton import COCO


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_and_prepare(tmp_path_factory.mktemp("synthetic"))


@pytest.fixture(scope="module", params=STORES)
def sample_file(request, images, tmp_path_factory) -> Path:
    """A file of `images`."""
    path = tmp_path_factory.mktemp("written") / "a.h5"
    path.write_bytes(build_file(header(request.param), images, [Issue(3, "odd", "é" * 400)]))
    return path


class TestOwnLayout:
    def test_every_sample_survives_the_round_trip(self, sample_file, images):
        expected = all_records(images)
        file = SampleFile(sample_file)
        assert len(file) == len(expected) > len(images)
        for record, written in zip(file, expected, strict=True):
            assert_records_equal(record, written)
        assert file.image_ids == [image.image_id for image in images]
        assert [file.image_ids[row] for row in file.sample_image_rows] == [
            record.image_id for record in expected
        ]

    def test_image_files_are_stored_unchanged(self, images, tmp_path):
        (tmp_path / "a.h5").write_bytes(build_file(header(), images, []))
        with h5py.File(tmp_path / "a.h5") as file:
            for image, end, size in zip(
                images, file["pictures/data_end"], file["pictures/image_bytes"], strict=True
            ):
                packed = layout.pack_masks(image.mask_miss, image.mask_all)
                start = end - size - len(packed)
                assert file["pictures/data"][start:end].tobytes() == image.encoded + packed

    def test_contents_summarize_the_file(self, sample_file, images):
        contents = SampleFile(sample_file).contents()
        assert contents.people == sum(len(image.keypoints) for image in images)
        assert contents.images_without_people == 1
        assert contents.issues == (Issue(3, "odd", "é" * 300),)
        assert contents.store in STORES
        pixels = sum(image.image.nbytes for image in images)
        masks = sum(len(layout.pack_masks(p.mask_miss, p.mask_all)) for p in images)
        assert contents.raw_bytes == pixels + masks
        assert contents.raw_bytes == len(h5py.File(sample_file)["pictures/data"]) or contents.store != "raw"

    def test_other_annotated_joints_are_supported(self, tmp_path):
        joints = ("head", "tail")
        people = {"keypoints": np.ones((3, 2, 3), np.float32), "boxes_xywh": np.ones((3, 4))}
        image = replace(image_without_people(), **people, main_persons=(2,))
        (tmp_path / "a.h5").write_bytes(build_file(header("raw", joints), [image], []))
        file = SampleFile(tmp_path / "a.h5")
        assert file.joints == joints
        assert_records_equal(file[0], image.record(2))

    def test_returned_arrays_are_writable_copies(self, sample_file):
        file = SampleFile(sample_file)
        record = file[0]
        for array in (record.image, record.mask_miss, record.mask_all, record.keypoints):
            assert array.flags["C_CONTIGUOUS"]
            array[:] = 1
        assert file[0].mask_all.max() == 255

    @pytest.mark.parametrize("index", [-1, 10**6])
    def test_an_index_out_of_range_raises(self, sample_file, index):
        with pytest.raises(IndexError, match="sample"):
            SampleFile(sample_file)[index]

    @pytest.mark.parametrize(("method", "workers"), [(None, 0), ("fork", 1), ("fork", 2), ("spawn", 2)])
    def test_workers_read_the_same_records_as_the_parent(self, images, tmp_path, method, workers):
        (tmp_path / "a.h5").write_bytes(build_file(header(), images, []))
        file = SampleFile(tmp_path / "a.h5")
        expected = list(file)
        loader = DataLoader(
            file, batch_size=2, collate_fn=list, num_workers=workers, multiprocessing_context=method
        )
        records = [record for batch in loader for record in batch]
        for record, own in zip(records, expected, strict=True):
            assert_records_equal(record, own)
        assert_records_equal(file[0], expected[0])

    def test_a_worker_opens_its_own_descriptor(self, sample_file):
        def work(queue):
            file[1]
            (own,) = descriptors(sample_file)
            os.lseek(own, 12345, os.SEEK_SET)
            queue.put(own)

        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("needs /proc")
        file = SampleFile(sample_file)
        file[0]
        (parent,) = descriptors(sample_file)
        before = os.lseek(parent, 0, os.SEEK_CUR)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert before != 12345
        assert os.lseek(parent, 0, os.SEEK_CUR) == before
        assert_records_equal(file[1], SampleFile(sample_file)[1])

    def test_only_reading_samples_keeps_the_file_open(self, sample_file, tmp_path):
        file = SampleFile(shutil.copy(sample_file, tmp_path))
        assert file.image_ids
        assert file.contents()
        assert len(file.sample_image_rows) == len(file)
        assert file.joints == COCO.annotated
        with h5py.File(file.path, "r+"):  # fails while it is open for reading
            pass

    def test_a_garbage_collected_file_is_closed(self, sample_file):
        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("needs /proc")
        for _ in range(3):
            SampleFile(sample_file)[0]
        assert descriptors(sample_file) == []

    def test_an_open_or_closed_file_can_be_pickled(self, sample_file):
        file = SampleFile(sample_file)
        first = file[0]
        assert_records_equal(pickle.loads(pickle.dumps(file))[0], first)
        file.close()
        file.close()
        assert_records_equal(pickle.loads(pickle.dumps(file))[0], first)
        assert_records_equal(file[0], first)


def descriptors(path: Path) -> list[int]:
    """The open descriptors of this process for a file."""
    links = {fd: f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")}
    return [int(fd) for fd, link in links.items() if os.path.realpath(link) == str(path.resolve())]


class TestPublishedLayout:
    def test_published_samples_become_records(self, tmp_path):
        images, joints = write_published(tmp_path / "p.h5")
        file = SampleFile(tmp_path / "p.h5")
        assert len(file) == 3
        assert [file.image_ids[row] for row in file.sample_image_rows] == [42, 42, 7]
        for index, (image_id, order) in enumerate([(42, [0, 1]), (42, [1, 0]), (7, [0])]):
            record = file[index]
            assert record.image_id == image_id
            assert np.array_equal(record.image, images[image_id])
            assert (record.mask_miss == 255).all()
            assert record.mask_all.sum() == 255 * 25
            assert record.mask_all[4:9, 3:8].all()
            assert record.center_xy == (10.5 * (order[0] + 1), 20.25)
            assert record.height == 64 * (order[0] + 1)
            published = joints[order].astype(np.float32)
            for v, coco_v in ((0, 1), (1, 2)):
                chosen = published[..., 2] == v
                assert chosen.any()
                assert np.array_equal(record.keypoints[chosen][:, :2], published[chosen][:, :2])
                assert (record.keypoints[chosen][:, 2] == coco_v).all()
            assert (record.keypoints[published[..., 2] == 2] == 0).all()
            assert record.keypoints.dtype == np.float32

    def test_published_crop_of_the_384_phase(self, tmp_path):
        write_published(tmp_path / "p.h5", crop=384)
        assert SampleFile(tmp_path / "p.h5", published_crop=384)[1].height == pytest.approx(128)

    def test_a_sample_without_its_image_is_damaged(self, tmp_path):
        write_published(tmp_path / "p.h5")
        with h5py.File(tmp_path / "p.h5", "r+") as file:
            del file["images/000000000042"]
        file = SampleFile(tmp_path / "p.h5")
        with pytest.raises(
            DamagedRecordError, match=r"p\.h5: sample 0, of image 42, is damaged .*prepare_coco\.py"
        ):
            file[0]
        assert file[2].image_id == 7
        assert file.contents() is None


class TestDamage:
    @pytest.mark.parametrize("kept", [0, 7, 100, 0.5, 0.99, -1])
    def test_a_truncated_file_is_rejected(self, sample_file, tmp_path, kept):
        content = sample_file.read_bytes()
        (tmp_path / "cut.h5").write_bytes(content[: int(len(content) * kept) if 0 < kept < 1 else kept])
        with pytest.raises(ValueError, match=r"cut\.h5: (truncated|damaged).*tools/prepare_coco\.py"):
            list(SampleFile(tmp_path / "cut.h5"))

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=r"absent\.h5; create it \(again\) with tools/prepare_coco\.py"
        ):
            SampleFile(tmp_path / "absent.h5")

    def change(self, sample_file, tmp_path, edit):
        (tmp_path / "odd.h5").write_bytes(sample_file.read_bytes())
        with h5py.File(tmp_path / "odd.h5", "r+") as file:
            edit(file)
        return tmp_path / "odd.h5"

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (
                lambda file: file.attrs.update(version=1),
                "expected version 2 of the layout, got version 1",
            ),
            (
                lambda file: file.attrs.update(version=3),
                "expected version 2 of the layout, got version 3",
            ),
            (lambda file: file.attrs.pop("version"), "version None"),
            (lambda file: file.attrs.update(format="another"), "not of training samples"),
            (lambda file: file.pop("samples"), "damaged"),
            (lambda file: file.attrs.pop("joints"), "damaged"),
            (lambda file: file["samples/main_person"].__setitem__(0, 99), "damaged"),
            (lambda file: file["pictures/people_end"].attrs.update(crc32=5), "damaged"),
        ],
    )
    def test_another_kind_of_file_is_rejected(self, sample_file, tmp_path, edit, message):
        with pytest.raises(ValueError, match=rf"odd\.h5: .*{message}.*prepare_coco\.py"):
            SampleFile(self.change(sample_file, tmp_path, edit))

    def test_a_file_without_samples_is_rejected(self, tmp_path):
        (tmp_path / "a.h5").write_bytes(build_file(header(), [], []))
        with pytest.raises(ValueError, match="has no samples"):
            SampleFile(tmp_path / "a.h5")

    @pytest.mark.parametrize("name", ["pictures/data", "people/keypoints", "people/box_xywh"])
    def test_a_damaged_sample_raises_and_the_others_are_readable(self, sample_file, images, tmp_path, name):
        def edit(file):
            values = file[name][()]
            values.view(np.uint8).ravel()[5] ^= 1
            file[name][...] = values

        file = SampleFile(self.change(sample_file, tmp_path, edit))
        with pytest.raises(
            DamagedRecordError, match=r"odd\.h5: sample 0, of image 1, is damaged .*--check"
        ) as caught:
            file[0]
        assert (caught.value.index, caught.value.image_id) == (0, 1)
        restored = pickle.loads(pickle.dumps(caught.value))
        assert (str(restored), restored.index, restored.image_id) == (str(caught.value), 0, 1)
        assert_records_equal(file[len(file) - 1], all_records(images)[-1])

    def test_any_flipped_bit_is_detected_or_harmless(self, tmp_path, rng):
        """Also in HDF5's own headers: records are never read with other values than were written."""
        images = [image_without_people(1), image_without_people(2)]
        for store in STORES:
            content = build_file(header(store), images, [Issue(1, "odd")])
            detected = 0
            for position in rng.choice(len(content), 150, replace=False):
                flipped = bytearray(content)
                flipped[position] ^= 1 << rng.integers(8)
                detected += self.is_detected(tmp_path / "flipped.h5", flipped, images)
            assert detected > 20

    def is_detected(self, path: Path, content: bytearray, images) -> bool:
        path.write_bytes(content)
        try:
            records = list(SampleFile(path))
        except ValueError:
            return True
        for record, expected in zip(records, all_records(images), strict=True):
            assert_records_equal(record, expected)
        return False
