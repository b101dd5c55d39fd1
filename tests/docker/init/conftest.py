"""Boxes for the tests of init, and the images that they need."""

from __future__ import annotations

import io
import secrets
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from codapi_flask.init import binary
from tests.support.compiler import compile_c
from tests.support.initbox import Box

__all__ = ["compile_c"]

USERS = "codapi/test-init-users"
DOCKERFILE = """\
FROM codapi/python
USER 0
RUN echo 'twin:x:1000:7::/twin:/bin/sh' >> /etc/passwd \\
 && echo 'lonely:x:1234:4321::/nowhere:/bin/sh' >> /etc/passwd \\
 && echo 'first:x:31:root,sandbox,lonely' >> /etc/group \\
 && echo 'second:x:30:sandbox' >> /etc/group
RUN mkdir /home/private && chown 1000:1000 /home/private && chmod 700 /home/private
ENV NAME="a value" EMPTY=
WORKDIR /home/private
"""


@pytest.fixture
def start_box(tmp_path: Path) -> Iterator[Callable[..., Box]]:
    """Return a starter of boxes that die at the test's end."""
    numbers = count()
    with ExitStack() as stack:
        yield lambda image="codapi/python", **options: stack.enter_context(
            Box(tmp_path / f"box-{next(numbers)}", image, **options)
        )


@pytest.fixture
def box(start_box: Callable[..., Box]) -> Box:
    """Return a box of Python, as the repository's defaults make it."""
    return start_box(tmpfs={"/tmp": "size=32m"})


@pytest.fixture(scope="session")
def users() -> Iterator[str]:
    """Return an image with interesting users, groups and variables."""
    build = ["docker", "build", "--quiet", "--network=none", "--tag", USERS, "-"]
    subprocess.run(build, input=DOCKERFILE, text=True, check=True, capture_output=True)
    yield USERS
    # another run of the tests may have removed it
    subprocess.run(["docker", "image", "rm", USERS], capture_output=True)


@pytest.fixture(scope="session")
def bare() -> Iterator[str]:
    """Return an image with nothing but one static program, which is init itself."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(binary(), "tool")
    image = f"codapi/test-init-bare-{secrets.token_hex(4)}"
    subprocess.run(
        ["docker", "import", "-", image], input=archive.getvalue(), check=True, capture_output=True
    )
    yield image
    subprocess.run(["docker", "image", "rm", image], check=True, capture_output=True)
