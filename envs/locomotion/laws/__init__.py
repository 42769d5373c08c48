"""Robots as the authors of papers had them: one source a file."""
