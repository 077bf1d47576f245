"""Loopback addresses for instances.

Linux answers all of 127/8, so each instance gets an address of its own, on which its programs listen. The network
part comes from the emulator's port, so that two emulators on one machine never hand out the same address.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

HOSTS_PER_EMULATOR = 62
"""A quarter of the last octet, without its ends."""


class AddressPool:
    """Hands out the addresses of one emulator in turn, so that one just given up is not used again at once."""

    def __init__(self, port: int) -> None:
        # 14 bits of the port make the second (64..127) and third octet, the other two the quarter of the fourth.
        self._network = f"127.{64 + (port >> 8) % 64}.{port & 0xFF}"
        self._first = (port >> 14) * 64 + 1
        self._next = 0
        self._lock = threading.Lock()

    def take(self, in_use: Collection[str]) -> str | None:
        """The next free address, or None when all are in use."""
        with self._lock:
            for offset in range(HOSTS_PER_EMULATOR):
                host = (self._next + offset) % HOSTS_PER_EMULATOR
                address = f"{self._network}.{self._first + host}"
                if address not in in_use:
                    self._next = host + 1
                    return address
        return None
