"""A filter of system calls for the child: what is not listed fails with EPERM. Linux only.

Classic BPF over struct seccomp_data (https://man7.org/linux/man-pages/man2/seccomp.2.html). After
it is in place the process can read and write what is already open, ask for memory, and end. It
cannot open a file, a socket or another program, start a process, or map memory as executable.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys
from typing import Final

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
SECCOMP_MODE_FILTER: Final = 2
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
CLONE_THREAD: Final = 0x00010000
PROT_EXEC: Final = 4
EPERM, ENOSYS = 1, 38

ALLOWED: Final[dict[str, tuple[int, int]]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62),
    "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65),
    "writev": (20, 66), "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233),
    "nanosleep": (35, 101), "getpid": (39, 172), "exit": (60, 93), "fsync": (74, 82),
    "ftruncate": (77, 46), "gettid": (186, 178), "futex": (202, 98),
    "sched_getaffinity": (204, 123), "exit_group": (231, 94), "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115), "set_robust_list": (273, 99), "getrandom": (318, 278),
    "membarrier": (324, 283), "rseq": (334, 293), "getrusage": (98, 165),
}  # fmt: skip
"""System call → its number on x86-64 and on AArch64."""
EXECUTABLE_CHECKED: Final = {"mmap": (9, 222), "mprotect": (10, 226)}
CLONE, CLONE3 = (56, 220), (435, 435)
ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine → column of the tables, AUDIT_ARCH constant."""

LOAD, EQUAL, AT_LEAST, BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCH, FIRST_ARGUMENT = 0, 4, 16
X32_BIT: Final = 0x40000000


def program(machine: str, threads: bool) -> bytes | None:
    """The filter as an array of struct sock_filter; None for an unknown kind of processor."""
    if machine not in ARCHITECTURES:
        return None
    column, arch = ARCHITECTURES[machine]
    code = [
        _op(LOAD, ARCH), _op(EQUAL, arch, 1, 0), _op(RETURN, KILL),
        _op(LOAD, NUMBER), _op(AT_LEAST, X32_BIT, 0, 1), _op(RETURN, ERRNO | EPERM),
    ]  # fmt: skip
    for numbers in ALLOWED.values():
        code += [_op(EQUAL, numbers[column], 0, 1), _op(RETURN, ALLOW)]
    for numbers in EXECUTABLE_CHECKED.values():
        code += _if_bit(numbers[column], argument=2, bit=PROT_EXEC, then=ERRNO | EPERM, other=ALLOW)
    code += [_op(EQUAL, CLONE3[column], 0, 1), _op(RETURN, ERRNO | ENOSYS)]
    if threads:
        code += _if_bit(CLONE[column], 0, CLONE_THREAD, then=ALLOW, other=ERRNO | EPERM)
    code.append(_op(RETURN, ERRNO | EPERM))
    return b"".join(code)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _if_bit(number: int, argument: int, bit: int, then: int, other: int) -> list[bytes]:
    """For this call: `then` if the argument's low word has the bit, else `other`."""
    return [
        _op(EQUAL, number, 0, 4),
        _op(LOAD, FIRST_ARGUMENT + 8 * argument),
        _op(BITS, bit, 0, 1),
        _op(RETURN, then),
        _op(RETURN, other),
    ]


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def install(threads: bool) -> bool:
    """Put the filter in place for good; False where there is none. Needs no privileges."""
    code = program(platform.machine(), threads) if sys.platform == "linux" else None
    if code is None or not no_new_privileges():
        return False
    held = _Filter(len(code) // 8, code)
    return _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(held))


def no_new_privileges() -> bool:
    """No program that this process could start would have more rights."""
    return _prctl(PR_SET_NO_NEW_PRIVS, 1)


def not_dumpable() -> bool:
    """Nobody of the same user may look into this process or dump it."""
    return _prctl(PR_SET_DUMPABLE, 0)


def die_with_parent() -> bool:
    """The kernel kills this process when the one that waits for it is gone."""
    return _prctl(PR_SET_PDEATHSIG, 9)


def leave_network() -> bool:
    """A network namespace of its own, without any way out; False where that is not allowed."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    return any(
        library.unshare(flags) == 0 for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET)
    )


def _prctl(option: int, *arguments: int) -> bool:
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return bool(library.prctl(option, *padded) == 0)
