"""What the fork server imports, once for all children.

Modules that cannot be imported do not end the fork server: each child reports that itself.
"""

from contextlib import suppress

with suppress(Exception):
    from codapi_flask.pool import worker  # noqa: F401
    from codapi_flask.stock import keeper  # noqa: F401

PRELOAD = [__name__]
