"""What the tests of init share."""

from tests.support.compiler import compile_c

__all__ = ["compile_c"]
