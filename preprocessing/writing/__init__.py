"""Shards: which are there, and how the others are written."""
