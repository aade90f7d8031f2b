"""What the Linux kernel offers to shut a process in: thin calls by ctypes, each raising OSError with its name.

Sources: unshare(2), pivot_root(2), landlock(7), seccomp(2), prctl(2), and the kernel's uapi headers. x86-64 only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence

libc = ctypes.CDLL(None, use_errno=True)
_PTR = ctypes.c_void_p
libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
libc.syscall.restype = ctypes.c_long

NEW_NAMESPACES = (
    0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
)  # ns, cgroup, uts, ipc, ...
NEW_USER = 0x10000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_KEEP_FLAGS = 2 | 4 | 8 | 1024 | 2048  # nosuid, nodev, noexec, noatime, nodiratime: locked in a user namespace
_PDEATHSIG, _SET_SECCOMP, _CAPBSET_DROP, _NO_NEW_PRIVS = 1, 22, 24, 38
_PIVOT_ROOT, _CAPSET, _LANDLOCK = 155, 126, 444


def _checked(what: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def supported() -> bool:
    """Whether the numbers of this file are this machine's."""
    return platform.system() == "Linux" and platform.machine() == "x86_64"


def unshare(flags: int) -> None:
    """Give this process namespaces of its own; the process id's takes effect with the next fork."""
    _checked("unshare", libc.unshare(flags))


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    result = libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, data.encode())
    _checked(f"mount on {target}", result)


def bind_read_only(source: str, target: str) -> None:
    """Make a directory or file visible at `target`, read-only."""
    mount(source, target, None, MS_BIND)
    flags = os.statvfs(target).f_flag & _KEEP_FLAGS
    mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | flags)


def enter_root(new_root: str) -> None:
    """Make `new_root`, a mount point, the root, and let go of the old one."""
    os.chdir(new_root)
    _checked("pivot_root", libc.syscall(_PIVOT_ROOT, b".", b"."))
    _checked("umount2", libc.umount2(b".", 2))  # detach: the old root is stacked on the new one
    os.chdir("/")


def drop_capabilities() -> None:
    """None left, and none to be had by running a program."""
    for capability in range(64):
        if libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0):
            break
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _checked("capset", libc.syscall(_CAPSET, header, nothing))


def no_new_privileges() -> None:
    """Set-uid programs lose their meaning; seccomp and landlock ask for it."""
    _checked("no_new_privs", libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))


def die_with_parent() -> None:
    """SIGKILL when the parent ends."""
    _checked("pdeathsig", libc.prctl(_PDEATHSIG, 9, 0, 0, 0))


# --- landlock ---


def landlock_version() -> int:
    """The kernel's landlock version, 0 where there is none."""
    return max(0, libc.syscall(_LANDLOCK, None, ctypes.c_size_t(0), 1))


def landlock_rules(readable: Sequence[str], writable: Sequence[str]) -> int:
    """A ruleset (a file descriptor) that allows reading and writing beneath these places only, and no TCP.

    From version 6 on also no signal and no abstract socket out of it.
    """
    version = landlock_version()
    every = (1 << 13) - 1
    for since, right in ((2, 1 << 13), (3, 1 << 14), (5, 1 << 15)):
        every |= right if version >= since else 0
    fields = [every, 3 if version >= 4 else None, 3 if version >= 6 else None]
    attributes = struct.pack(f"{sum(f is not None for f in fields)}Q", *[f for f in fields if f is not None])
    rules = _checked("landlock", libc.syscall(_LANDLOCK, attributes, ctypes.c_size_t(len(attributes)), 0))
    read = 4 | 8
    make = read | 2 | 16 | 32 | 128 | 256 | (every & (1 << 14))
    for place, rights in [*((p, read) for p in readable), *((p, make) for p in writable)]:
        beneath = os.open(place, os.O_PATH | os.O_CLOEXEC)
        allowed = rights if os.path.isdir(place) else rights & ~(8 | 16 | 32 | 128 | 256)
        rule = struct.pack("=Qi", allowed, beneath)
        _checked(f"landlock rule for {place}", libc.syscall(_LANDLOCK + 1, rules, 1, rule, 0))
        os.close(beneath)
    return rules


def landlock(rules: int) -> None:
    """Live under these rules from now on."""
    _checked("landlock", libc.syscall(_LANDLOCK + 2, rules, 0))


# --- seccomp ---


def seccomp(program: bytes) -> None:
    """Put a filter in place, for good. `program`: what `rewards.sandbox.syscalls.program` makes."""
    buffer = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(filter_, len(filter_))
    _checked("seccomp", libc.prctl(_SET_SECCOMP, 2, ctypes.addressof(holder), 0, 0))
