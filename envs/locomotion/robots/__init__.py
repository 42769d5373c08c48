"""Robots: one a file."""
