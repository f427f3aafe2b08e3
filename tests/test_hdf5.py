"""The file of training samples: what is written is read, in both layouts; damage is told."""

import multiprocessing
import os
import pickle
import shutil

import h5py
import numpy as np
import pytest
from drawn_coco import write_drawn_coco
from published_hdf5 import write_published

from simplepose.data.coco import prepare_picture, read_annotations
from simplepose.data.hdf5 import SampleFile
from simplepose.data.hdf5_own import SampleWriter
from simplepose.skeleton import COCO


def assert_same(one, other):
    """Two records hold the same."""
    for name in ("image", "mask_miss", "mask_all", "keypoints"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype, name
        assert np.array_equal(a, b), name
    assert (one.center_xy, one.height, one.image_id) == (other.center_xy, other.height, other.image_id)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A written file and the pictures that went into it."""
    folder = tmp_path_factory.mktemp("drawn")
    annotations, images = write_drawn_coco(folder, pictures=6)
    pictures = [prepare_picture(picture, images) for picture in read_annotations(annotations)]
    pictures[1].mask_miss[3:9, 5:60] = 0
    with SampleWriter(folder / "new" / "a.h5", annotations.name) as writer:
        for picture in pictures:
            writer.append(picture)
    return folder / "new" / "a.h5", pictures


class TestOwnLayout:
    def test_every_sample_is_read_as_it_was_written(self, drawn):
        path, pictures = drawn
        expected = [picture.record(main) for picture in pictures for main in picture.main_persons]
        file = SampleFile(path)
        assert len(file) == len(expected) > len(pictures)
        for record, written in zip(file, expected, strict=True):
            assert_same(record, written)
        assert file.pictures == [picture.image_id for picture in pictures]
        assert [file.pictures[row] for row in file.sample_pictures] == [
            record.image_id for record in expected
        ]

    def test_arrays_belong_to_the_reader(self, drawn):
        file = SampleFile(drawn[0])
        record = file[0]
        for array in (record.image, record.mask_miss, record.mask_all, record.keypoints):
            assert array.flags["C_CONTIGUOUS"]
            array[:] = 1
        assert file[0].mask_all.max() == 255

    @pytest.mark.parametrize("index", [-1, 10**6])
    def test_an_index_beyond_the_samples(self, drawn, index):
        with pytest.raises(IndexError, match="sample"):
            SampleFile(drawn[0])[index]

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_workers_read_what_the_parent_reads(self, drawn, method):
        file = SampleFile(drawn[0])
        expected = [file[0], file[1]]
        with multiprocessing.get_context(method).Pool(2) as pool:
            records = pool.map(file.__getitem__, [0, 1])
        for record, own in zip(records, expected, strict=True):
            assert_same(record, own)
        assert_same(file[0], expected[0])

    def test_a_worker_has_a_descriptor_of_its_own(self, drawn):
        def descriptors():
            links = {fd: f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")}
            return [
                int(fd) for fd, link in links.items() if os.path.realpath(link) == str(drawn[0].resolve())
            ]

        def work(queue):
            file[1]
            (own,) = descriptors()
            os.lseek(own, 12345, os.SEEK_SET)
            queue.put(own)

        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("needs /proc")
        file = SampleFile(drawn[0])
        file[0]
        (parents,) = descriptors()
        before = os.lseek(parents, 0, os.SEEK_CUR)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert before != 12345
        assert os.lseek(parents, 0, os.SEEK_CUR) == before
        assert_same(file[1], SampleFile(drawn[0])[1])

    def test_only_samples_keep_the_file_open(self, drawn, tmp_path):
        file = SampleFile(shutil.copy(drawn[0], tmp_path))
        assert file.pictures
        assert len(file.sample_pictures) == len(file)
        assert file.joints == COCO.annotated
        with h5py.File(file.path, "r+"):  # refused while it is open for reading
            pass

    def test_it_can_be_pickled_open_and_closed(self, drawn):
        file = SampleFile(drawn[0])
        first = file[0]
        assert_same(pickle.loads(pickle.dumps(file))[0], first)
        file.close()
        file.close()
        assert_same(pickle.loads(pickle.dumps(file))[0], first)
        assert_same(file[0], first)


class TestWriter:
    def test_nothing_lies_there_until_all_is_written(self, drawn, tmp_path):
        path = tmp_path / "b.h5"
        path.write_text("what was there")
        with SampleWriter(path, "x.json") as writer:
            writer.append(drawn[1][0])
            assert path.read_text() == "what was there"
        assert [file.name for file in tmp_path.iterdir()] == ["b.h5"]
        assert len(SampleFile(path)) == len(drawn[1][0].main_persons)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
    def test_leaving_early_leaves_nothing_behind(self, drawn, tmp_path, error):
        with pytest.raises(error), SampleWriter(tmp_path / "b.h5", "x.json") as writer:  # noqa: PT012
            writer.append(drawn[1][0])
            raise error
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_is_told_before_it_is_full(self, drawn, tmp_path, monkeypatch):
        usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        with (
            pytest.raises(OSError, match=r"b\.h5 cannot be finished: 10,000 bytes are free"),
            SampleWriter(tmp_path / "b.h5", "x.json") as writer,
        ):
            writer.append(drawn[1][0])
        assert list(tmp_path.iterdir()) == []

    def test_a_write_that_fails_at_the_end_leaves_nothing_behind(self, tmp_path, monkeypatch):
        closed = h5py.File.close

        def failing(file):
            closed(file)
            raise RuntimeError("errno = 122")

        monkeypatch.setattr(h5py.File, "close", failing)
        with (
            pytest.raises(OSError, match=r"b\.h5 could not be written: errno = 122"),
            SampleWriter(tmp_path / "b.h5", "x.json"),
        ):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_a_second_writer_is_refused_and_harms_nothing(self, drawn, tmp_path):
        with SampleWriter(tmp_path / "b.h5", "x.json") as writer:
            with pytest.raises(OSError, match="already open"):
                SampleWriter(tmp_path / "b.h5", "x.json")
            writer.append(drawn[1][0])
        assert len(SampleFile(tmp_path / "b.h5")) == len(drawn[1][0].main_persons)

    def test_a_folder_as_target(self, tmp_path):
        with pytest.raises(ValueError, match="is a folder"):
            SampleWriter(tmp_path, "x.json")


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
        with pytest.raises(ValueError, match=r"p\.h5: damaged .*prepare_coco\.py"):
            SampleFile(tmp_path / "p.h5")[0]


class TestDamage:
    @pytest.mark.parametrize("kept", [0, 7, 100, 0.5, 0.99, -1])
    def test_a_truncated_file(self, drawn, tmp_path, kept):
        content = drawn[0].read_bytes()
        (tmp_path / "cut.h5").write_bytes(content[: int(len(content) * kept) if 0 < kept < 1 else kept])
        with pytest.raises(ValueError, match=r"cut\.h5: cut off, or no HDF5 file .*tools/prepare_coco\.py"):
            SampleFile(tmp_path / "cut.h5")

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=r"absent\.h5; make it \(again\) with tools/prepare_coco\.py"
        ):
            SampleFile(tmp_path / "absent.h5")

    def change(self, drawn, tmp_path, edit):
        (tmp_path / "odd.h5").write_bytes(drawn[0].read_bytes())
        with h5py.File(tmp_path / "odd.h5", "r+") as file:
            edit(file)
        return tmp_path / "odd.h5"

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (lambda file: file.attrs.update(version=2), "layout version 2, 1 is expected"),
            (lambda file: file.attrs.pop("version"), "layout version None"),
            (lambda file: file.attrs.update(format="another"), "not of training samples"),
            (lambda file: file.pop("samples"), "damaged"),
            (lambda file: file.attrs.pop("joints"), "damaged"),
            (lambda file: file["samples/picture"].resize(0, axis=0), "holds no sample"),
        ],
    )
    def test_another_kind_of_file(self, drawn, tmp_path, edit, message):
        with pytest.raises(ValueError, match=rf"odd\.h5: .*{message}.*prepare_coco\.py"):
            SampleFile(self.change(drawn, tmp_path, edit))

    @pytest.mark.parametrize("name", ["pictures/encoded", "pictures/masks"])
    @pytest.mark.parametrize("rubbish", [b"", b"rubbish"])
    def test_a_damaged_sample_spares_the_others(self, drawn, tmp_path, name, rubbish):
        def edit(file):
            file[name][0] = np.frombuffer(rubbish, np.uint8)

        file = SampleFile(self.change(drawn, tmp_path, edit))
        with pytest.raises(ValueError, match=r"odd\.h5: damaged .*prepare_coco\.py"):
            file[0]
        assert_same(file[len(file) - 1], SampleFile(drawn[0])[len(file) - 1])

    def test_a_sample_of_a_person_who_is_not_there(self, drawn, tmp_path):
        def edit(file):
            file["samples/main_person"][0] = 99

        with pytest.raises(ValueError, match="damaged"):
            list(SampleFile(self.change(drawn, tmp_path, edit)))
