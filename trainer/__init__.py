"""Asynchronous and synchronous training over parameter shards and gradient workers."""
