"""Slices: named filters that are kept as a definition and as a SQL view."""
