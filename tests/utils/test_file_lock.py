"""What one process holds, or several share: nobody else has it, and nothing is left of it."""

import subprocess
import sys

import pytest
import runs

from simplepose.utils.file_lock import held

OTHER = """
import pathlib, sys
from simplepose.utils.file_lock import held
try:
    with held(pathlib.Path(sys.argv[1]), "in use", sys.argv[2] == "True"):
        print("held")
except ValueError as error:
    print(error)
"""


def as_another(path, shared):
    command = [sys.executable, "-c", OTHER, str(path), str(shared)]
    done = subprocess.run(command, env=runs.environment(), capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("mine", [False, True])
@pytest.mark.parametrize("others", [False, True])
def test_only_those_who_share_hold_it_together(tmp_path, mine, others):
    path = tmp_path / "lock"
    with held(path, "", shared=mine):
        assert as_another(path, others) == ("held" if mine and others else "in use")
        assert as_another(path, False) == "in use"  # also after one who shared it has gone
        assert path.exists()
    assert not path.exists()
    assert as_another(path, others) == "held"
    assert not path.exists()


def test_many_who_share_and_end_together_leave_nothing(tmp_path):
    path, command = tmp_path / "lock", [sys.executable, "-c", OTHER, str(tmp_path / "lock"), "True"]
    with held(path, "", shared=True):
        others = [subprocess.Popen(command, env=runs.environment(), stdout=subprocess.PIPE) for _ in range(6)]
        assert [other.communicate(timeout=60)[0] for other in others] == [b"held\n"] * 6
    assert not path.exists()


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError), held(tmp_path / "nowhere/lock", ""):
        pass
