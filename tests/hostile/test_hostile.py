"""A fixed sample of the hostile corpus; `make hostile` runs all of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the limits of memory need Linux", allow_module_level=True)

import corpus
from repo_paths import ROOT

MIN_CASES = 200
SAMPLE = corpus.sample(60)


@pytest.fixture(scope="module")
def server():
    """A process that has imported the libraries and forks for each case."""
    paths = [str(ROOT), str(ROOT / "tests/helpers"), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("run.py")), "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    yield process
    process.stdin.close()
    process.wait(30)


def test_the_corpus_is_large_and_its_names_are_unique():
    names = {case.name for case in corpus.CASES}
    assert len(names) == len(corpus.CASES) >= MIN_CASES
    assert len({case.kind for case in SAMPLE}) == len({case.kind for case in corpus.CASES})


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_hostile_input_gives_the_expected_outcome(server, case):
    print(case.name, file=server.stdin, flush=True)
    outcome = json.loads(server.stdout.readline())
    assert outcome["fault"] is None, f"{outcome['fault']}\n{outcome['output']}"
