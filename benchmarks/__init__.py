"""Ratios of our own cost against a named rival in the same run; never asserted, always reported."""
