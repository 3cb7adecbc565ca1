"""The plan of a dataset: how it is decided, on Beam, and how it lies on disk."""
