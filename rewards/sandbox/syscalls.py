"""The system calls that computing needs, as a seccomp filter; every other one fails with EPERM.

Numbers are x86-64's (arch/x86/entry/syscalls/syscall_64.tbl). No process, thread, signal, socket or program can be
made by them, and nothing about another process learnt.
"""

from __future__ import annotations

import errno
import struct

_ALLOWED = (
    *range(0, 16),  # read, write, open, close, stat, fstat, lstat, poll, lseek, mmap, mprotect, munmap, brk, rt_sig*
    *(17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28),  # pread64, pwrite64, readv, writev, access, pipe, select, ...
    *(32, 33, 34, 35, 36, 37, 38, 39),  # dup, dup2, pause, nanosleep, getitimer, alarm, setitimer, getpid
    *(45, 48),  # recvfrom, shutdown: only a pair of sockets can be had
    *(
        60,
        63,
        74,
        75,
        77,
        78,
        79,
        80,
        81,
        82,
        83,
        84,
        85,
        87,
        89,
        95,
    ),  # exit, uname, fsync, ..., unlink, readlink, umask
    *(96, 97, 98, 100, 102, 104, 107, 108, 110, 111),  # gettimeofday, getrlimit, getrusage, times, getuid, ...
    *(131, 158, 186, 201, 202, 204, 217, 218),  # sigaltstack, arch_prctl, gettid, time, futex, sched_getaffinity, ...
    *(228, 229, 230, 231, 232, 233),  # clock_gettime, clock_getres, clock_nanosleep, exit_group, epoll_wait, epoll_ctl
    *(257, 258, 262, 263, 264, 267, 269, 270, 271, 273, 281),  # openat, mkdirat, newfstatat, unlinkat, ..., epoll_pwait
    *(
        290,
        291,
        292,
        293,
        316,
        318,
        332,
        334,
        439,
    ),  # eventfd2, epoll_create1, dup3, pipe2, renameat2, getrandom, rseq, ...
)
_CLONE3, _IOCTL, _SENDTO, _SOCKETPAIR, _FCNTL, _PRLIMIT = 435, 16, 44, 53, 72, 302
_ARGUMENTS = {  # call -> (argument, values of its lower half that are allowed)
    _IOCTL: (1, (0x5421, 0x5450, 0x5451)),  # FIONBIO, FIONCLEX, FIOCLEX
    _SOCKETPAIR: (0, (1,)),  # AF_UNIX
    _FCNTL: (1, (0, 1, 2, 3, 4, 1030)),  # no owner to signal, no lease, no lock
}
_X86_64, _X32 = 0xC000003E, 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000


def program() -> bytes:
    """The filter as classic BPF. Each test jumps over one instruction where it does not hold."""
    refuse = (_RETURN, 0, 0, _ERROR | errno.EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)
    code = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, _X32),
        refuse,
    ]
    for call in _ALLOWED:
        code += [(_EQUAL, 0, 1, call), allow]
    code += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    for call, (argument, values) in _ARGUMENTS.items():
        tests = [(_LOAD, 0, 0, 16 + 8 * argument)]
        for value in values:
            tests += [(_EQUAL, 0, 1, value), allow]
        tests.append((_RETURN, 0, 0, _ERROR | (errno.ENOTTY if call == _IOCTL else errno.EPERM)))
        code += [(_EQUAL, 0, len(tests), call), *tests]
    own_limits = [  # prlimit64(0, which, NULL, old): reading one's own
        *[(_LOAD, 0, 0, 16), (_EQUAL, 1, 0, 0), refuse],
        *[(_LOAD, 0, 0, 32), (_EQUAL, 1, 0, 0), refuse],
        *[(_LOAD, 0, 0, 36), (_EQUAL, 1, 0, 0), refuse],
        allow,
    ]
    code += [(_EQUAL, 0, len(own_limits), _PRLIMIT), *own_limits]
    other_end = [  # sendto(..., NULL, ...): to the pair's other end; with an address a datagram reaches any socket
        *[(_LOAD, 0, 0, 48), (_EQUAL, 1, 0, 0), refuse],
        *[(_LOAD, 0, 0, 52), (_EQUAL, 1, 0, 0), refuse],
        allow,
    ]
    code += [(_EQUAL, 0, len(other_end), _SENDTO), *other_end, refuse]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)
