"""Finding and ending processes, by /proc, so that nothing that was started is left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): orphans below this process become its children instead of init's."""

KILL_SECONDS = 5.0
"""How long to go on killing before giving up on processes that don't die."""


class Process(NamedTuple):
    pid: int
    parent: int
    group: int
    session: int
    zombie: bool


Finder = Callable[[list[Process]], set[int]]
"""Chooses from the processes that live."""


def all_processes() -> Iterator[Process]:
    """The processes that exist, without those that go while looking."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_bytes()
            except OSError:
                continue
            # The name, in parentheses, may hold anything; the rest follows the last one.
            state, parent, group, session = stat.rpartition(b")")[2].split()[:4]
            yield Process(int(entry), int(parent), int(group), int(session), state in (b"Z", b"X"))


def has_in_environment(pid: int, marker: bytes) -> bool:
    """Whether a process was started with this `NAME=value`."""
    try:
        return marker in Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def descendants(of: set[int], processes: list[Process]) -> set[int]:
    """The processes below some, and these themselves."""
    found = set(of)
    while True:
        more = {process.pid for process in processes if process.parent in found} - found
        if not more:
            return found
        found |= more


def kill_until_gone(find: Finder) -> set[int]:
    """Kills what `find` finds until it finds nothing: a process may fork while it is killed. Returns what is left."""
    deadline = time.monotonic() + KILL_SECONDS
    while True:
        living = [process for process in all_processes() if not process.zombie]
        targets = find(living) - {os.getpid()}
        if not targets or time.monotonic() > deadline:
            return targets
        for pid in targets:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def reap(keep: set[int]) -> None:
    """Collects children that have ended and that nobody waits for; somebody waits for those in `keep`."""
    for process in list(all_processes()):
        if process.zombie and process.parent == os.getpid() and process.pid not in keep:
            try:
                os.waitpid(process.pid, os.WNOHANG)
            except ChildProcessError:
                pass


def lead_a_group() -> None:
    """Makes this process a group's leader, so that what it starts can be found by the group."""
    if os.getpgrp() != os.getpid():
        os.setpgrp()


def in_group(group: int) -> Finder:
    """Finds a group's processes, if this process leads that group; else nothing, since others are in it."""
    ours = group == os.getpid()
    return lambda living: {process.pid for process in living if ours and process.group == group}


def started_with(marker: bytes) -> Finder:
    """Finds what was started with this `NAME=value` in its environment, and what descends from it."""

    def find(living: list[Process]) -> set[int]:
        return descendants({process.pid for process in living if has_in_environment(process.pid, marker)}, living)

    return find


def when_we_are_gone_kill(find: Finder) -> None:
    """Leaves a watcher behind that outlives even SIGKILL: once our end of a pipe closes, it kills what `find` finds.

    Call it before there are threads: it forks.
    """
    ours, watched = os.pipe()
    if os.fork() > 0:
        # The other end stays open, unused, until this process is gone. What it starts doesn't inherit it.
        os.close(ours)
        return
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(watched)
        while os.read(ours, 1):
            pass
        kill_until_gone(find)
    finally:
        os._exit(0)


def adopt_orphans() -> None:
    """Keeps what a child leaves behind below this process, where it can be found."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
