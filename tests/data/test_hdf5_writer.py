"""Write HDF5 files of training samples: packed masks, small files, and joined files."""

import shutil
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from prepared_images import STORES, assert_records_equal, header, write_and_prepare

from simplepose.data.hdf5 import layout
from simplepose.data.hdf5.reader import SampleFile
from simplepose.data.hdf5.writer import build_file, join_files
from simplepose.data.record import Issue


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_and_prepare(tmp_path_factory.mktemp("synthetic"))


class TestMaskRuns:
    @pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (9, 1), (17, 31), (300, 301)])
    def test_masks_survive_the_round_trip(self, rng, size_hw):
        for probability in (0, 0.001, 0.5, 1):
            masks = [np.where(rng.random(size_hw) < probability, 255, 0).astype(np.uint8) for _ in range(2)]
            unpacked = layout.unpack_masks(layout.pack_masks(*masks), *size_hw)
            for mask, result in zip(masks, unpacked, strict=True):
                assert result.dtype == np.uint8
                assert result.flags["C_CONTIGUOUS"]
                assert result.flags["WRITEABLE"]
                assert np.array_equal(mask, result)

    @pytest.mark.parametrize(
        "plain",
        [b"", b"1234", struct.pack("<IB", 11, 0), struct.pack("<IIBB", 2**32 - 1, 13, 0, 0), b"12345678"],
    )
    def test_run_lengths_of_another_size_are_rejected(self, plain):
        with pytest.raises(ValueError, match="masks of"):
            layout.unpack_masks(zlib.compress(plain), 3, 4)


class TestJoin:
    def parts(self, folder: Path, images, store: str) -> list[Path]:
        """Files of three images, of none, and of the rest."""
        paths = []
        for number, chunk in enumerate((images[:3], [], images[3:])):
            paths.append(folder / f"{number}.h5")
            issues = [Issue(number, "part", "of the text" * number)]
            paths[-1].write_bytes(build_file(header(store), chunk, issues))
        return paths

    @pytest.mark.parametrize(("store", "processes"), list(zip(STORES, (1, 2), strict=True)))
    def test_a_joined_file_equals_one_written_at_once(self, images, tmp_path, store, processes):
        parts = self.parts(tmp_path, images, store)
        sizes = list(
            join_files(header(store), parts, tmp_path / "joined.h5", [Issue(7, "in front")], processes)
        )
        with h5py.File(tmp_path / "joined.h5") as file:
            assert sum(sizes) == len(file["pictures/data"])
            assert file["pictures/data"].id.get_offset()  # contiguous
        (tmp_path / "whole.h5").write_bytes(build_file(header(store), images, []))
        joined, whole = SampleFile(tmp_path / "joined.h5"), SampleFile(tmp_path / "whole.h5")
        for one, other in zip(joined, whole, strict=True):
            assert_records_equal(one, other)
        assert joined.image_ids == whole.image_ids
        assert np.array_equal(joined.sample_image_rows, whole.sample_image_rows)
        assert [(r.image_id, r.kind, len(r.detail)) for r in joined.contents().issues] == [
            (7, "in front", 0),
            *((number, "part", 11 * number) for number in range(3)),
        ]

    @pytest.mark.parametrize("store", STORES)
    def test_the_same_images_give_the_same_bytes(self, images, tmp_path, store):
        parts = self.parts(tmp_path, images, store)
        assert parts[0].read_bytes() == build_file(header(store), images[:3], [Issue(0, "part")])
        for name in ("one.h5", "two.h5"):
            list(join_files(header(store), parts, tmp_path / name, [], 1))
        assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()

    def test_a_nearly_full_disk_is_reported_before_writing(self, images, tmp_path, monkeypatch):
        usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        parts = self.parts(tmp_path, images, "raw")
        with pytest.raises(
            OSError, match=r"j\.h5: cannot write [\d,]+ bytes, the disk has 10,000 bytes free"
        ):
            list(join_files(header("raw"), parts, tmp_path / "j.h5", [], 1))
        assert not (tmp_path / "j.h5").exists()
