"""Errors of this package that a user is meant to read."""


class ClusterError(Exception):
    """A cluster cannot be joined, or started on this machine; the message is one line."""
