"""Storage that failed for now, told from what somebody has to mend first."""

import errno

_PASSING = frozenset(
    {
        # A disk or a server, as network file systems hand it on.
        errno.EIO,
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        # Of the way there.
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ESHUTDOWN,
        # Used by others, or the machine is short of something.
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOLCK,
        errno.ENOMEM,
        errno.ENOTEMPTY,  # of a folder on NFS, until who reads its files has closed them
    }
)


def may_pass(error: OSError) -> bool:
    """Whether the same may go well another time, though nobody mends anything: not without a right
    to write, nor where a folder is missing or storage is full (`full_disks`)."""
    return error.errno in _PASSING
