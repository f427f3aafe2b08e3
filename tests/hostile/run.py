"""Run the hostile corpus: every case in a process of its own, with limits of memory and time.

    PYTHONPATH=tests/helpers python tests/hostile/run.py [--list] [--keep DIR] [NAME ...]

NAME selects the cases whose names contain it. The exit status is 1 if a case fails. With `--serve`, names are
read from standard input and answered by one JSON line each: one process imports the libraries for all cases.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import base_inputs
import corpus
from case import REFUSED, Case
from isolation import Ending, run_in_fork

from simplepose.cli import run_command


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case: what is wrong (None: nothing), its cost, and the end of its output."""

    name: str
    fault: str | None
    seconds: float
    peak_mib: float
    output: str


def run_case(case: Case, root: Path) -> Outcome:
    """Write the files of a case, run its command, and compare the outcome with the expected one."""
    folder, log = root / case.name.replace("/", "-"), root / "log"
    folder.mkdir()
    arguments = root / "arguments.json"

    def write() -> int:
        arguments.write_text(json.dumps([str(word) for word in case.write(folder)]))
        return 0

    def check() -> int:
        assert case.expected.check is not None
        case.expected.check(folder)
        return 0

    written = run_in_fork(write, folder, log)
    if written.status:
        return _outcome(case, f"cannot write its files: {written.output}", written)
    words = json.loads(arguments.read_text())
    ending = run_in_fork(lambda: run_command(case.command, words), folder, log)
    fault = ending.find_fault() or case.expected.find_fault(ending.status, ending.output)
    if fault is None and ending.status != REFUSED and case.expected.check is not None:
        checked = run_in_fork(check, folder, log)
        fault = f"wrong result: {checked.output}" if checked.status else None
    return _outcome(case, fault, ending)


def _outcome(case: Case, fault: str | None, ending: Ending) -> Outcome:
    return Outcome(case.name, fault, ending.seconds, ending.peak_bytes / 2**20, ending.output[-2000:])


def prepare_base(root: Path) -> None:
    """Write the healthy inputs in a forked process: threads of this one would not exist in its forks."""
    (root / "base").mkdir()
    ending = run_in_fork(lambda: base_inputs.write(root / "base"), root / "base", root / "log", 600)
    if ending.status:
        raise RuntimeError(f"cannot write the healthy inputs: {ending.find_fault() or ending.output}")


def serve(root: Path) -> None:
    """Answer each name on standard input by the outcome of that case."""
    cases = {case.name: case for case in corpus.CASES}
    with os.fdopen(os.dup(1), "w") as answers:  # a case writes to its own standard output
        for line in sys.stdin:
            print(json.dumps(run_case(cases[line.strip()], root).__dict__), file=answers, flush=True)


def run_all(cases: list[Case], root: Path, keep: bool) -> int:
    """Run cases and print those that fail; returns the exit status."""
    start, outcomes = time.monotonic(), []
    for case in cases:
        outcomes.append(run_case(case, root))
        if outcomes[-1].fault is not None:
            print(f"FAILED {case.name}: {outcomes[-1].fault}\n{outcomes[-1].output}\n", flush=True)
        elif not keep:
            shutil.rmtree(root / case.name.replace("/", "-"))
    failed = [outcome for outcome in outcomes if outcome.fault is not None]
    kinds = Counter(case.kind for case in cases)
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    largest = max(outcomes, key=lambda outcome: outcome.peak_mib)
    print(
        f"{len(cases)} cases ({', '.join(f'{count} {kind}' for kind, count in kinds.items())}), "
        f"{len(failed)} failed, {time.monotonic() - start:.0f} s; "
        f"slowest {slowest.name} {slowest.seconds:.1f} s of processor time, "
        f"largest {largest.name} {largest.peak_mib:,.0f} MiB"
    )
    return 1 if failed else 0


def main() -> int:
    """Run the program; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="run the cases whose names contain one of these"
    )
    parser.add_argument("--list", action="store_true", help="only print the names")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="write the files to this new folder, and keep them"
    )
    parser.add_argument("--serve", action="store_true", help="read names from standard input")
    args = parser.parse_args()
    cases = [case for case in corpus.CASES if not args.names or any(name in case.name for name in args.names)]
    if args.list or not cases:
        print("\n".join(case.name for case in cases) or "no such case")
        return 0 if cases else 2
    if args.keep is not None:
        args.keep.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = (args.keep or Path(temporary)).resolve()
        prepare_base(root)
        if args.serve:
            serve(root)
            return 0
        return run_all(cases, root, args.keep is not None)


if __name__ == "__main__":
    sys.exit(main())
