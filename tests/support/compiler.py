"""A C compiler, for the tests of init and for hostile programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "codapi_flask" / "init"


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that compiles C files with gcc; skip the test where there is none."""
    if not shutil.which("gcc"):
        required = "gcc" in os.environ.get("CODAPI_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)("no gcc")

    def compile_c(name: str, *args: str | Path) -> Path:
        output = tmp_path_factory.mktemp("c") / name
        gcc = ["gcc", "-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", f"-I{SOURCES}"]
        subprocess.run([*gcc, "-o", str(output), *map(str, args)], check=True)
        return output

    return compile_c
