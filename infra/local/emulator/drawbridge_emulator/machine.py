"""One running machine: its metadata service, its user data, and its power switch.

Invariants: everything that the machine started carries its marker or descends from what does, and is killed with it;
of its folder only the console log outlives it; nothing in its environment is a key.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path

from drawbridge_emulator import processes
from drawbridge_emulator.imds import Metadata, MetadataService

MARKER = "DRAWBRIDGE_MACHINE"
"""The environment variable that tells a machine's processes: its value is the machine's folder."""

ROOM = "DRAWBRIDGE_MACHINES"
"""And the one that tells the processes of all machines of one emulator."""

FURTHER = "environment"
"""The file beside the machines' folders with further `NAME=value` lines for machines that start from now on: a test
shifts their clocks with it."""

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SHUTDOWN = r"""#!/bin/sh
# Stands in for shutdown(8): notes when to power off; the program that plays the machine looks at the note.
note="${DRAWBRIDGE_MACHINE:?not on a machine}/power-off-at"
when=+1
for argument in "$@"; do
  case "$argument" in
    -c) rm -f "$note"; exit 0 ;;
    -P | -h | --poweroff) ;;
    now) when=+0 ;;
    +[0-9] | +[0-9][0-9] | +[0-9][0-9][0-9] | +[0-9][0-9][0-9][0-9]) when=$argument ;;
    *) echo "shutdown: '$argument' is not emulated" >&2; exit 1 ;;
  esac
done
# The machine's clock may be a shifted one; the note is for a reader outside.
now=$(LD_PRELOAD='' date +%s)
echo $((now + ${when#+} * 60)) >"$note.new" && mv "$note.new" "$note"
"""


def install_programs(folder: Path) -> Path:
    """Writes the programs that come first in every machine's PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    shutdown = folder / "shutdown"
    shutdown.write_text(SHUTDOWN)
    for path in (folder, shutdown):
        path.chmod(0o755)
    return folder


class Machine:
    """A machine from power-on to power-off."""

    def __init__(self, folder: Path, programs: Path, metadata: Metadata, endpoint_url: str) -> None:
        self.metadata = metadata
        self._folder = folder
        self._home = _home(folder)
        self._marker = f"{MARKER}={self._home}"
        self._metadata_service = MetadataService(metadata)
        try:
            self._boot = self._run_user_data(programs, endpoint_url)
        except BaseException:
            self._metadata_service.stop()
            raise

    def _run_user_data(self, programs: Path, endpoint_url: str) -> subprocess.Popen[bytes] | None:
        """Runs what cloud-init would: user data that begins with `#!`, as a script, once."""
        data = self.metadata.user_data
        if not data.startswith(b"#!"):
            return None
        script = self._folder / "user-data.sh"
        script.write_bytes(data)
        script.chmod(0o755)
        temporary = self._home / "tmp"
        temporary.mkdir()
        temporary.chmod(0o1777)
        environment = {
            "PATH": f"{programs}:{SYSTEM_PATH}",
            "HOME": str(self._home),
            "TMPDIR": str(temporary),
            "LANG": "C.UTF-8",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self._metadata_service.url,
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_REGION": self.metadata.region,
            MARKER: str(self._home),
            ROOM: str(programs.parent),
            **_further(programs.parent / FURTHER),
        }
        with open(self._folder / "console.log", "ab") as console:
            return subprocess.Popen(
                [script],
                cwd=self._home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that runs the user data; -1 when there is none."""
        return self._boot.pid if self._boot else -1

    def booted(self) -> int | None:
        """The exit status of the user data, once it has ended."""
        return self._boot.poll() if self._boot else 0

    def wants_to_power_off(self) -> bool:
        """Whether the time that `shutdown` noted has come."""
        try:
            return float((self._home / "power-off-at").read_text()) <= time.time()
        except (OSError, ValueError):
            return False

    def cut_power(self) -> set[int]:
        """Kills all of the machine's processes. Returns those that would not die."""
        marker = self._marker.encode()
        known: set[int] = set()

        def mine(living: list[processes.Process]) -> set[int]:
            # Descendants are kept from look to look: what survives its parent is ours all the same.
            roots = {p.pid for p in living if p.session == self.pid or processes.has_in_environment(p.pid, marker)}
            known.update(processes.descendants(roots | known, living))
            return known & {p.pid for p in living}

        left = processes.kill_until_gone(mine)
        if self._boot:
            self._boot.poll()
        return left

    def remove(self) -> None:
        """Ends the metadata service and removes all but the console log."""
        self._metadata_service.stop()
        if self._home != self._folder:
            shutil.rmtree(self._home, ignore_errors=True)
        for path in self._folder.iterdir():
            if path.name == "console.log":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _further(file: Path) -> dict[str, str]:
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(line.split("=", 1) for line in lines)


def _home(folder: Path) -> Path:
    """The machine's own folder, where everybody can reach it: what runs on a machine may have dropped its rights."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    if all(parent.stat().st_mode & stat.S_IXOTH for parent in folder.resolve().parents):
        return folder
    home = Path(tempfile.mkdtemp(prefix="drawbridge-machine-", dir="/tmp"))
    os.chmod(home, 0o755)
    return home
