"""How many files Ray opens, asked before anything is made."""

import resource

from manylabel.cluster.errors import ClusterError

# Ray 2.60's own processes held at most 60 files with three workers, and 82 with ten; the driver 45.
# Below that they wait for each other for ever and say nothing.
_FILES = 128
_FILES_OF_A_PROCESS = 4


def check_open_files(processes: int) -> None:
    """Raises ClusterError if this user may not open as many files as Ray does.

    Ray raises the soft limit to the hard one itself.

    Args:
        processes: how many will work at most, idle ones too.
    """
    needed = _FILES + _FILES_OF_A_PROCESS * processes
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ClusterError(
            f"expected that a process may open {needed} files, as Ray does for {processes} "
            f"processes, received a hard limit of {hard} (`ulimit -Hn`); raise it where the "
            "command is started: LimitNOFILE of its service, `docker run --ulimit nofile=65536`"
        )
