"""File locks: exclusive or shared, and the lock file is removed at the end."""

import subprocess
import sys

import pytest
import runs

from simplepose.utils.file_lock import locked

LOCKING_PROCESS = """
import pathlib, sys
from simplepose.utils.file_lock import locked
try:
    with locked(pathlib.Path(sys.argv[1]), "in use", sys.argv[2] == "True"):
        print("locked")
except ValueError as error:
    print(error)
"""


def lock_in_another_process(path, shared):
    command = [sys.executable, "-c", LOCKING_PROCESS, str(path), str(shared)]
    result = subprocess.run(command, env=runs.environment(), capture_output=True, text=True, check=True)
    return result.stdout.strip()


@pytest.mark.parametrize("own_shared", [False, True])
@pytest.mark.parametrize("other_shared", [False, True])
def test_only_shared_locks_coexist(tmp_path, own_shared, other_shared):
    path = tmp_path / "lock"
    with locked(path, "", shared=own_shared):
        expected = "locked" if own_shared and other_shared else "in use"
        assert lock_in_another_process(path, other_shared) == expected
        assert lock_in_another_process(path, False) == "in use"  # also after another shared owner has ended
        assert path.exists()
    assert not path.exists()
    assert lock_in_another_process(path, other_shared) == "locked"
    assert not path.exists()


def test_shared_owners_that_end_together_remove_the_file(tmp_path):
    path, command = tmp_path / "lock", [sys.executable, "-c", LOCKING_PROCESS, str(tmp_path / "lock"), "True"]
    with locked(path, "", shared=True):
        others = [subprocess.Popen(command, env=runs.environment(), stdout=subprocess.PIPE) for _ in range(6)]
        assert [other.communicate(timeout=60)[0] for other in others] == [b"locked\n"] * 6
    assert not path.exists()


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), locked(tmp_path / "nowhere/lock", ""):
        pass
