"""Which way of measuring a record comes from."""

VERSION = 1
"""Raised whenever a change to the measuring code may move a figure; a test asks at every change.

Figures of two versions are never pooled, and never stand in one column of a table.
"""
