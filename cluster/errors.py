"""Errors of this package that a user is meant to read."""

from manylabel.storage.errors import ManylabelError, Transient


class ClusterError(ManylabelError):
    """A cluster cannot be joined, or started on this machine; the message is one line."""


class BusyMachineError(ClusterError, Transient):
    """This machine is too busy to start a cluster in time; it may not be for long."""


class UnreachableClusterError(ClusterError, Transient):
    """Nothing answers at the address; it may again."""
