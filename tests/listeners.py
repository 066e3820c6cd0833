"""Where a process listens, by the kernel's own tables."""

import socket
import struct
from pathlib import Path

_LISTEN = "0A"


def listeners(pid: int) -> set[tuple[str, int]]:
    """Addresses and ports at which a process takes TCP connections, IPv4 and IPv6."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {link.removeprefix("socket:[").removesuffix("]") for link in links}
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in inodes:
                found.add(_decoded(fields[1], family))
    return found


def _decoded(text: str, family: socket.AddressFamily) -> tuple[str, int]:
    """An address of the table: 32-bit words in the machine's order, and a port, all in hexadecimal."""
    address, _, port = text.rpartition(":")
    words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16)
