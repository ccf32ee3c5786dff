"""Sluiceway: raw data to versioned deep-learning models, through three gates."""

__version__ = "0.1.0"
