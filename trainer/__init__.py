"""Asynchronous training of many-label image classifiers."""
