"""The file of training samples: what is written is read, in both layouts; damage is told."""

import multiprocessing
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from prepared_pictures import STORES, assert_same, empty_picture, header, records_of, write_and_prepare
from published_hdf5 import write_published
from torch.utils.data import DataLoader

from simplepose.data.hdf5 import layout
from simplepose.data.hdf5.reader import BadRecord, SampleFile
from simplepose.data.hdf5.writer import small_file
from simplepose.data.record import Remark
from simplepose.skeleton import COCO


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_and_prepare(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module", params=STORES)
def drawn(request, pictures, tmp_path_factory) -> Path:
    """A file of `pictures`."""
    path = tmp_path_factory.mktemp("written") / "a.h5"
    path.write_bytes(small_file(header(request.param), pictures, [Remark(3, "odd", "é" * 400)]))
    return path


class TestOwnLayout:
    def test_every_sample_is_read_as_it_was_written(self, drawn, pictures):
        expected = records_of(pictures)
        file = SampleFile(drawn)
        assert len(file) == len(expected) > len(pictures)
        for record, written in zip(file, expected, strict=True):
            assert_same(record, written)
        assert file.pictures == [picture.image_id for picture in pictures]
        assert [file.pictures[row] for row in file.sample_pictures] == [
            record.image_id for record in expected
        ]

    def test_the_picture_files_are_kept_as_they_are(self, pictures, tmp_path):
        (tmp_path / "a.h5").write_bytes(small_file(header(), pictures, []))
        with h5py.File(tmp_path / "a.h5") as file:
            for picture, end, size in zip(
                pictures, file["pictures/data_end"], file["pictures/image_bytes"], strict=True
            ):
                packed = layout.pack(picture.mask_miss, picture.mask_all)
                start = end - size - len(packed)
                assert file["pictures/data"][start:end].tobytes() == picture.encoded + packed

    def test_what_the_file_holds_in_all(self, drawn, pictures):
        contents = SampleFile(drawn).contents()
        assert contents.people == sum(len(picture.keypoints) for picture in pictures)
        assert contents.pictures_of_nobody == 1
        assert contents.remarks == (Remark(3, "odd", "é" * 300),)
        assert contents.store in STORES
        pixels = sum(picture.image.nbytes for picture in pictures)
        masks = sum(len(layout.pack(p.mask_miss, p.mask_all)) for p in pictures)
        assert contents.raw_bytes == pixels + masks
        assert contents.raw_bytes == len(h5py.File(drawn)["pictures/data"]) or contents.store != "raw"

    def test_people_may_have_other_joints(self, tmp_path):
        joints = ("head", "tail")
        people = {"keypoints": np.ones((3, 2, 3), np.float32), "boxes_xywh": np.ones((3, 4))}
        picture = replace(empty_picture(), **people, main_persons=(2,))
        (tmp_path / "a.h5").write_bytes(small_file(header("raw", joints), [picture], []))
        file = SampleFile(tmp_path / "a.h5")
        assert file.joints == joints
        assert_same(file[0], picture.record(2))

    def test_arrays_belong_to_the_reader(self, drawn):
        file = SampleFile(drawn)
        record = file[0]
        for array in (record.image, record.mask_miss, record.mask_all, record.keypoints):
            assert array.flags["C_CONTIGUOUS"]
            array[:] = 1
        assert file[0].mask_all.max() == 255

    @pytest.mark.parametrize("index", [-1, 10**6])
    def test_an_index_beyond_the_samples(self, drawn, index):
        with pytest.raises(IndexError, match="sample"):
            SampleFile(drawn)[index]

    @pytest.mark.parametrize(("method", "workers"), [(None, 0), ("fork", 1), ("fork", 2), ("spawn", 2)])
    def test_a_loaders_workers_read_what_the_parent_reads(self, pictures, tmp_path, method, workers):
        (tmp_path / "a.h5").write_bytes(small_file(header(), pictures, []))
        file = SampleFile(tmp_path / "a.h5")
        expected = list(file)
        loader = DataLoader(
            file, batch_size=2, collate_fn=list, num_workers=workers, multiprocessing_context=method
        )
        records = [record for batch in loader for record in batch]
        for record, own in zip(records, expected, strict=True):
            assert_same(record, own)
        assert_same(file[0], expected[0])

    def test_a_worker_has_a_descriptor_of_its_own(self, drawn):
        def work(queue):
            file[1]
            (own,) = descriptors(drawn)
            os.lseek(own, 12345, os.SEEK_SET)
            queue.put(own)

        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("needs /proc")
        file = SampleFile(drawn)
        file[0]
        (parents,) = descriptors(drawn)
        before = os.lseek(parents, 0, os.SEEK_CUR)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert before != 12345
        assert os.lseek(parents, 0, os.SEEK_CUR) == before
        assert_same(file[1], SampleFile(drawn)[1])

    def test_only_samples_keep_the_file_open(self, drawn, tmp_path):
        file = SampleFile(shutil.copy(drawn, tmp_path))
        assert file.pictures
        assert file.contents()
        assert len(file.sample_pictures) == len(file)
        assert file.joints == COCO.annotated
        with h5py.File(file.path, "r+"):  # refused while it is open for reading
            pass

    def test_a_file_that_is_forgotten_is_closed(self, drawn):
        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("needs /proc")
        for _ in range(3):
            SampleFile(drawn)[0]
        assert descriptors(drawn) == []

    def test_it_can_be_pickled_open_and_closed(self, drawn):
        file = SampleFile(drawn)
        first = file[0]
        assert_same(pickle.loads(pickle.dumps(file))[0], first)
        file.close()
        file.close()
        assert_same(pickle.loads(pickle.dumps(file))[0], first)
        assert_same(file[0], first)


def descriptors(path: Path) -> list[int]:
    """Those of this process that are open for a file."""
    links = {fd: f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")}
    return [int(fd) for fd, link in links.items() if os.path.realpath(link) == str(path.resolve())]


class TestPublishedLayout:
    def test_samples_are_turned_to_ours(self, tmp_path):
        images, joints = write_published(tmp_path / "p.h5")
        file = SampleFile(tmp_path / "p.h5")
        assert len(file) == 3
        assert [file.pictures[row] for row in file.sample_pictures] == [42, 42, 7]
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

    def test_a_file_of_the_384_phase(self, tmp_path):
        write_published(tmp_path / "p.h5", crop=384)
        assert SampleFile(tmp_path / "p.h5", published_crop=384)[1].height == pytest.approx(128)

    def test_a_sample_without_its_picture(self, tmp_path):
        write_published(tmp_path / "p.h5")
        with h5py.File(tmp_path / "p.h5", "r+") as file:
            del file["images/000000000042"]
        file = SampleFile(tmp_path / "p.h5")
        with pytest.raises(BadRecord, match=r"p\.h5: sample 0, of picture 42, is damaged .*prepare_coco\.py"):
            file[0]
        assert file[2].image_id == 7
        assert file.contents() is None


class TestDamage:
    @pytest.mark.parametrize("kept", [0, 7, 100, 0.5, 0.99, -1])
    def test_a_truncated_file(self, drawn, tmp_path, kept):
        content = drawn.read_bytes()
        (tmp_path / "cut.h5").write_bytes(content[: int(len(content) * kept) if 0 < kept < 1 else kept])
        with pytest.raises(ValueError, match=r"cut\.h5: (cut off|damaged).*tools/prepare_coco\.py"):
            list(SampleFile(tmp_path / "cut.h5"))

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=r"absent\.h5; make it \(again\) with tools/prepare_coco\.py"
        ):
            SampleFile(tmp_path / "absent.h5")

    def change(self, drawn, tmp_path, edit):
        (tmp_path / "odd.h5").write_bytes(drawn.read_bytes())
        with h5py.File(tmp_path / "odd.h5", "r+") as file:
            edit(file)
        return tmp_path / "odd.h5"

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (
                lambda file: file.attrs.update(version=1),
                "version 1 of the layout; this program reads version 2",
            ),
            (
                lambda file: file.attrs.update(version=3),
                "version 3 of the layout; this program reads version 2",
            ),
            (lambda file: file.attrs.pop("version"), "version None"),
            (lambda file: file.attrs.update(format="another"), "not of training samples"),
            (lambda file: file.pop("samples"), "damaged"),
            (lambda file: file.attrs.pop("joints"), "damaged"),
            (lambda file: file["samples/main_person"].__setitem__(0, 99), "damaged"),
            (lambda file: file["pictures/people_end"].attrs.update(crc32=5), "damaged"),
        ],
    )
    def test_another_kind_of_file(self, drawn, tmp_path, edit, message):
        with pytest.raises(ValueError, match=rf"odd\.h5: .*{message}.*prepare_coco\.py"):
            SampleFile(self.change(drawn, tmp_path, edit))

    def test_a_file_without_a_sample(self, tmp_path):
        (tmp_path / "a.h5").write_bytes(small_file(header(), [], []))
        with pytest.raises(ValueError, match="holds no sample"):
            SampleFile(tmp_path / "a.h5")

    @pytest.mark.parametrize("name", ["pictures/data", "people/keypoints", "people/box_xywh"])
    def test_a_damaged_sample_is_named_and_spares_the_others(self, drawn, pictures, tmp_path, name):
        def edit(file):
            values = file[name][()]
            values.view(np.uint8).ravel()[5] ^= 1
            file[name][...] = values

        file = SampleFile(self.change(drawn, tmp_path, edit))
        with pytest.raises(
            BadRecord, match=r"odd\.h5: sample 0, of picture 1, is damaged .*--check"
        ) as caught:
            file[0]
        assert (caught.value.index, caught.value.image_id) == (0, 1)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.index, again.image_id) == (str(caught.value), 0, 1)
        assert_same(file[len(file) - 1], records_of(pictures)[-1])

    def test_any_byte_that_flips_is_noticed_or_does_no_harm(self, tmp_path, rng):
        """Also in HDF5's own headers: nothing else is ever read than what was written."""
        pictures = [empty_picture(1), empty_picture(2)]
        for store in STORES:
            content = small_file(header(store), pictures, [Remark(1, "odd")])
            noticed = 0
            for place in rng.choice(len(content), 150, replace=False):
                flipped = bytearray(content)
                flipped[place] ^= 1 << rng.integers(8)
                noticed += self.is_noticed(tmp_path / "flipped.h5", flipped, pictures)
            assert noticed > 20

    def is_noticed(self, path: Path, content: bytearray, pictures) -> bool:
        path.write_bytes(content)
        try:
            records = list(SampleFile(path))
        except ValueError:
            return True
        for record, expected in zip(records, records_of(pictures), strict=True):
            assert_same(record, expected)
        return False
