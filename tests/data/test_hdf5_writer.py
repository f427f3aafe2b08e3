"""The writing of files of training samples: masks packed, small files, small ones joined to a large one."""

import shutil
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from prepared_pictures import STORES, assert_same, header, write_and_prepare

from simplepose.data.hdf5 import layout
from simplepose.data.hdf5.reader import SampleFile
from simplepose.data.hdf5.writer import join, small_file
from simplepose.data.record import Remark


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_and_prepare(tmp_path_factory.mktemp("drawn"))


class TestMaskRuns:
    @pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (9, 1), (17, 31), (300, 301)])
    def test_masks_come_back(self, rng, size_hw):
        for share in (0, 0.001, 0.5, 1):
            masks = [np.where(rng.random(size_hw) < share, 255, 0).astype(np.uint8) for _ in range(2)]
            back = layout.unpack(layout.pack(*masks), *size_hw)
            for mask, read in zip(masks, back, strict=True):
                assert read.dtype == np.uint8
                assert read.flags["C_CONTIGUOUS"]
                assert read.flags["WRITEABLE"]
                assert np.array_equal(mask, read)

    @pytest.mark.parametrize(
        "plain",
        [b"", b"1234", struct.pack("<IB", 11, 0), struct.pack("<IIBB", 2**32 - 1, 13, 0, 0), b"12345678"],
    )
    def test_runs_of_another_size_are_refused(self, plain):
        with pytest.raises(ValueError, match="masks of"):
            layout.unpack(zlib.compress(plain), 3, 4)


class TestJoin:
    def parts(self, folder: Path, pictures, store: str) -> list[Path]:
        """Files of three, no and the other pictures."""
        paths = []
        for number, chunk in enumerate((pictures[:3], [], pictures[3:])):
            paths.append(folder / f"{number}.h5")
            remarks = [Remark(number, "part", "of the text" * number)]
            paths[-1].write_bytes(small_file(header(store), chunk, remarks))
        return paths

    @pytest.mark.parametrize(("store", "processes"), list(zip(STORES, (1, 2), strict=True)))
    def test_what_is_joined_is_what_is_written_at_once(self, pictures, tmp_path, store, processes):
        parts = self.parts(tmp_path, pictures, store)
        told = list(join(header(store), parts, tmp_path / "joined.h5", [Remark(7, "in front")], processes))
        with h5py.File(tmp_path / "joined.h5") as file:
            assert sum(told) == len(file["pictures/data"])
            assert file["pictures/data"].id.get_offset()  # lies in one piece
        (tmp_path / "whole.h5").write_bytes(small_file(header(store), pictures, []))
        joined, whole = SampleFile(tmp_path / "joined.h5"), SampleFile(tmp_path / "whole.h5")
        for one, other in zip(joined, whole, strict=True):
            assert_same(one, other)
        assert joined.pictures == whole.pictures
        assert np.array_equal(joined.sample_pictures, whole.sample_pictures)
        assert [(r.image_id, r.kind, len(r.detail)) for r in joined.contents().remarks] == [
            (7, "in front", 0),
            *((number, "part", 11 * number) for number in range(3)),
        ]

    @pytest.mark.parametrize("store", STORES)
    def test_the_same_pictures_give_the_same_bytes(self, pictures, tmp_path, store):
        parts = self.parts(tmp_path, pictures, store)
        assert parts[0].read_bytes() == small_file(header(store), pictures[:3], [Remark(0, "part")])
        for name in ("one.h5", "two.h5"):
            list(join(header(store), parts, tmp_path / name, [], 1))
        assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()

    def test_a_full_disk_is_told_before_it_is_full(self, pictures, tmp_path, monkeypatch):
        usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        parts = self.parts(tmp_path, pictures, "raw")
        with pytest.raises(OSError, match=r"j\.h5 of [\d,]+ bytes cannot be written: 10,000 are free"):
            list(join(header("raw"), parts, tmp_path / "j.h5", [], 1))
        assert not (tmp_path / "j.h5").exists()
