"""Fixtures of the tests of init."""

from tests.support.compiler import compile_c

__all__ = ["compile_c"]
