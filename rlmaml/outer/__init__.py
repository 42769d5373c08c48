"""Outer steps: one a file, with the methods of `rlmaml.outer.base.OuterStep`."""
