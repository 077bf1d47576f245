#!/usr/bin/env python3
"""Takes each safeguard away, one at a time, and checks that the test that guards it fails.

    tests/mutations/run.py                 # all of *.toml here
    tests/mutations/run.py --only NAME     # some; repeatable, and NAME may be a glob
    tests/mutations/run.py --list          # names, what is taken away, and the test that must notice

A mutation is caught when its one named test ran and failed. A mutation that doesn't compile, or whose test doesn't exist,
proves nothing and counts as not caught. First every named test must pass with nothing taken away.

Works in copies of this checkout below target/mutations/, one a job, whose own target folders begin as links to the
dependencies that are compiled already. Python 3.11 or newer, nothing else. Exit code 1 when a mutation survived.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import fnmatch
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

BUILD_SECONDS = 1800
TEST_SECONDS = 600
"""A test that hangs without its safeguard isn't one that fails. The slowest waits for a box's deadline, then for a timer in whole
minutes, and then gives up: some four minutes, and more on a busy machine."""

CAUGHT = "caught"


@dataclass(frozen=True)
class Mutation:
    """One entry of a list; every field is needed."""

    name: str
    removes: str
    """What no longer holds, in words."""
    file: str
    find: str
    """Occurs exactly once in the file."""
    replace: str
    target: str
    """`test:NAME` or `bin:NAME` of the workspace, or `lib:PACKAGE`."""
    test: str
    """The test's full name in its target."""


@dataclass(frozen=True)
class Outcome:
    verdict: str
    seconds: float
    said: str = ""


def read_list() -> list[Mutation]:
    lists = [tomllib.loads(path.read_text()) for path in sorted(HERE.glob("*.toml"))]
    mutations = [Mutation(**entry) for each in lists for entry in each["mutation"]]
    names = [mutation.name for mutation in mutations]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        sys.exit(f"named twice: {', '.join(twice)}")
    return mutations


def mutated(text: str, mutation: Mutation) -> str:
    """The file without its safeguard; ends the program unless the text to replace is there exactly once."""
    found = text.count(mutation.find)
    if found != 1:
        sys.exit(f"{mutation.name}: its text occurs {found} times in {mutation.file}, not once")
    return text.replace(mutation.find, mutation.replace)


def cargo(target: str) -> list[str]:
    """The command that builds and runs a target's tests."""
    kind, name = target.split(":", 1)
    selection = {"test": ["--test", name], "bin": ["--bin", name], "lib": ["--package", name, "--lib"]}[kind]
    return ["cargo", "test", "--locked", "--quiet", *selection]


def starts_programs(target: str) -> bool:
    """Whether a target's tests start the workspace's programs, which they build if need be: not in the test's own time."""
    kind, name = target.split(":", 1)
    path = ROOT / "tests" / f"{name}.rs"
    return kind == "test" and path.is_file() and "Rig" in path.read_text()


class Scratch:
    """A copy of the checkout to take things away in."""

    def __init__(self, number: int) -> None:
        self.folder = ROOT / "target" / "mutations" / str(number)
        self.root = self.folder / "checkout"
        self.target = self.folder / "target"
        self._copy_checkout()
        self._link_dependencies()

    def _copy_checkout(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        names = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
        wanted = {self.root / name for name in names}
        for stale in [path for path in self.root.rglob("*") if path.is_file() and path not in wanted]:
            stale.unlink()
        for name in names:
            source, copy = ROOT / name, self.root / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            # What is equal keeps its time, so that cargo doesn't build it again.
            if not copy.exists() or copy.read_bytes() != source.read_bytes():
                shutil.copyfile(source, copy)
            shutil.copymode(source, copy)

    def _link_dependencies(self) -> None:
        """Links what cargo never writes again, and copies the rest: libraries of other people's crates keep their names."""
        compiled = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
        self.target.mkdir(parents=True, exist_ok=True)
        if (compiled / "python").is_dir() and not (self.target / "python").exists():
            (self.target / "python").symlink_to(compiled / "python")
        debug, ours = compiled / "debug", self.target / "debug"
        if ours.exists() or not debug.is_dir():
            return
        for part in (".fingerprint", "build"):
            shutil.copytree(debug / part, ours / part, symlinks=True, ignore=shutil.ignore_patterns("drawbridge*"))
        (ours / "deps").mkdir()
        for path in (debug / "deps").iterdir():
            if path.suffix in (".rlib", ".rmeta", ".d", ".so") and "drawbridge" not in path.name:
                os.link(path, ours / "deps" / path.name)

    def try_one(self, mutation: Mutation) -> Outcome:
        path = self.root / mutation.file
        whole = path.read_text()
        path.write_text(mutated(whole, mutation))
        try:
            return self.run_test(mutation.target, mutation.test)
        finally:
            path.write_text(whole)

    def run_test(self, target: str, test: str) -> Outcome:
        began = time.monotonic()
        builds = [[*cargo(target), "--no-run"]]
        if starts_programs(target):
            builds.append(["cargo", "build", "--locked", "--quiet", "--workspace", "--bins"])
        for build in builds:
            code, said = self._run(build, BUILD_SECONDS)
            if code != 0:
                return Outcome("does not build" if code is None else "does not compile", time.monotonic() - began, said)
        code, said = self._run([*cargo(target), "--", "--exact", test], TEST_SECONDS)
        return Outcome(verdict(code, said), time.monotonic() - began, said)

    def _run(self, command: list[str], seconds: float) -> tuple[int | None, str]:
        environment = {**os.environ, "CARGO_TARGET_DIR": str(self.target), "CARGO_TERM_COLOR": "never"}
        # Cargo sets this for what it runs; tests take it for their checkout.
        environment.pop("CARGO_MANIFEST_DIR", None)
        process = subprocess.Popen(
            command, cwd=self.root, env=environment, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            said, _ = process.communicate(timeout=seconds)
            return process.returncode, said
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            return None, said


def verdict(code: int | None, said: str) -> str:
    """What the named test showed."""
    if code is None:
        return "hangs"
    results = re.findall(r"^test result: \w+\. (\d+) passed; (\d+) failed;", said, re.MULTILINE)
    passed, failed = (sum(int(result[column]) for result in results) for column in (0, 1))
    if passed + failed != 1:
        return f"{passed + failed} tests ran"
    return CAUGHT if failed == 1 and code != 0 else "survived"


def baseline(scratch: Scratch, mutations: list[Mutation]) -> bool:
    """Whether every named test passes with nothing taken away."""
    sound = True
    for target, test in sorted({(mutation.target, mutation.test) for mutation in mutations}):
        outcome = scratch.run_test(target, test)
        if outcome.verdict != "survived":
            sound = False
            print(f"with nothing taken away, {target} {test}: {outcome.verdict}\n{tail(outcome.said)}", flush=True)
    return sound


def tail(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()[-30:])


def run_all(mutations: list[Mutation], scratches: list[Scratch]) -> dict[str, Outcome]:
    free: queue.SimpleQueue[Scratch] = queue.SimpleQueue()
    for scratch in scratches:
        free.put(scratch)

    def run_one(mutation: Mutation) -> tuple[Mutation, Outcome]:
        scratch = free.get()
        try:
            return mutation, scratch.try_one(mutation)
        finally:
            free.put(scratch)

    width = max(len(mutation.name) for mutation in mutations)
    outcomes = {}
    with concurrent.futures.ThreadPoolExecutor(len(scratches)) as pool:
        for future in concurrent.futures.as_completed([pool.submit(run_one, mutation) for mutation in mutations]):
            mutation, outcome = future.result()
            outcomes[mutation.name] = outcome
            print(f"{mutation.name:{width}}  {outcome.verdict:16}  {outcome.seconds:4.0f} s  {mutation.test}", flush=True)
            if outcome.verdict != CAUGHT:
                print(tail(outcome.said), flush=True)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a name or a glob; repeatable")
    parser.add_argument("--list", action="store_true", help="print what there is and stop")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time, each in a copy of its own")
    arguments = parser.parse_args()
    known = read_list()
    wanted = arguments.only or ["*"]
    mutations = [each for each in known if any(fnmatch.fnmatch(each.name, name) for name in wanted)]
    if not mutations:
        sys.exit(f"no mutation is named {', '.join(wanted)}")
    for mutation in mutations:
        mutated((ROOT / mutation.file).read_text(), mutation)
    if arguments.list:
        for mutation in mutations:
            print(f"{mutation.name}: {mutation.removes}\n    {mutation.target} {mutation.test}")
        return 0
    scratches = [Scratch(number) for number in range(min(arguments.jobs, len(mutations)))]
    if not baseline(scratches[0], mutations):
        return 1
    outcomes = run_all(mutations, scratches)
    missed = sorted(name for name, outcome in outcomes.items() if outcome.verdict != CAUGHT)
    print(f"{len(outcomes) - len(missed)} of {len(outcomes)} caught" + (f"; not: {', '.join(missed)}" if missed else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
