"""File locks: one owner at a time, and the lock file is removed at the end."""

import contextlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import runs

from simplepose.utils.file_lock import acquire_lock, lock_in_folder, locked

LOCKING_PROCESS = """
import pathlib, sys
from simplepose.utils.file_lock import acquire_lock
try:
    lock = acquire_lock(pathlib.Path(sys.argv[1]), "in use", float(sys.argv[2]))
    print("locked", flush=True)
    if sys.argv[3:]:
        sys.stdin.read()
    else:
        lock.release()
except ValueError as error:
    print(error)
"""


def locking_process(path, timeout_s=0.0, wait=False):
    command = [sys.executable, "-c", LOCKING_PROCESS, str(path), str(timeout_s), *(["wait"] if wait else [])]
    return subprocess.Popen(
        command, env=runs.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def lock_in_another_process(path):
    return locking_process(path).communicate(timeout=60)[0].strip()


def test_a_lock_has_one_owner(tmp_path):
    path = tmp_path / "lock"
    with locked(path, ""):
        assert lock_in_another_process(path) == "in use"
        assert path.exists()
    assert not path.exists()
    assert lock_in_another_process(path) == "locked"


def test_a_killed_owner_has_released_the_lock(tmp_path):
    path = tmp_path / "lock"
    with locking_process(path, wait=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match="in use"):
            acquire_lock(path, "in use")
        other.kill()
    acquire_lock(path, "in use").release()


def test_a_waiting_process_gets_the_lock_although_its_owner_removed_the_file(tmp_path):
    path = tmp_path / "lock"
    with locked(path, ""):
        other = locking_process(path, timeout_s=60)
        time.sleep(0.5)
    assert other.communicate(timeout=60)[0] == "locked\n"
    with locked(path, ""):
        assert lock_in_another_process(path) == "in use"


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), locked(tmp_path / "nowhere/lock", ""):
        pass


def test_the_folder_of_a_lock_may_be_removed_by_its_owner_at_any_time(tmp_path):
    """Two threads create, lock and remove the same folder; no one else may have the lock meanwhile."""
    folder, owners = tmp_path / "folder", []

    def own_often(name):
        for _ in range(300):
            lock = lock_in_folder(folder, "lock", "in use", timeout_s=60)
            owners.append(name)
            assert owners == [name]
            owners.remove(name)
            (folder / "lock").unlink()
            with contextlib.suppress(OSError):  # the other has created its lock file
                folder.rmdir()
            lock.release()

    with ThreadPoolExecutor(2) as threads:
        for future in [threads.submit(own_often, name) for name in "ab"]:
            future.result()


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        lock_in_folder(tmp_path / "file", "lock", "")
