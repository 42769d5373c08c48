"""Robots: one a file."""

from .ant import Ant
from .base import Floats, Physics, Robot, flat
from .half_cheetah import HalfCheetah

__all__ = ["Ant", "Floats", "HalfCheetah", "Physics", "Robot", "flat"]
