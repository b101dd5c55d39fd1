"""Builds `init`, the C program that is process 1 of a box, for the package to hold."""

import platform
import subprocess
import sys
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build

PACKAGE = Path("codapi_flask", "init")
MACHINES = ("aarch64", "x86_64")
FLAGS = ["-std=gnu11", "-Os", "-s", "-static", "-fstack-protector-strong"]
FLAGS += ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wstrict-prototypes", "-Werror"]


class BuildInit(Command):
    """Compiles `init` with the C compiler that the wheel of ziglang holds.

    A wheel gets it for all machines, an editable installation for this one.
    """

    def initialize_options(self):
        self.editable_mode = False
        self.build_lib = None

    def finalize_options(self):
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self):
        directory = (Path() if self.editable_mode else Path(self.build_lib)) / PACKAGE / "bin"
        directory.mkdir(parents=True, exist_ok=True)
        compilers = [
            subprocess.Popen(
                [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-musl"]
                + [*FLAGS, "-o", str(directory / f"init-{machine}"), *self._sources("*.c")]
            )
            for machine in MACHINES
            if not self.editable_mode or machine == platform.machine()
        ]
        if any([compiler.wait() for compiler in compilers]):
            raise SystemExit("init was not built")

    def get_source_files(self):
        return self._sources("*.[ch]")

    def get_outputs(self):
        directory = Path(self.build_lib) / PACKAGE / "bin"
        return [str(directory / f"init-{machine}") for machine in MACHINES]

    def get_output_mapping(self):
        return {}

    def _sources(self, pattern):
        return sorted(map(str, PACKAGE.glob(pattern)))


build.sub_commands = [*build.sub_commands, ("build_init", None)]
setup(cmdclass={"build_init": BuildInit})
