"""Fixtures of the tests that run whole commands."""

from .workplace import small_disk, workplace

__all__ = ["small_disk", "workplace"]
