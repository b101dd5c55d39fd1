"""Builds `init`, the C program that is process 1 of a box, for the package to hold."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build

PACKAGE = Path("codapi_flask", "init")
MACHINES = os.environ.get("CODAPI_MACHINES", "aarch64 x86_64").split()
"""The machines, as `uname -m` names them, that a wheel has `init` for."""
FLAGS = ["-std=gnu11", "-Os", "-s", "-static", "-fstack-protector-strong", "-Werror"]
FLAGS += ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wstrict-prototypes"]


class BuildInit(Command):
    """Compiles `init` with the C compiler in the wheel of ziglang.

    A wheel gets it for all machines, an editable installation for this one. The methods
    are those of `setuptools.command.build.SubCommand`.
    """

    def initialize_options(self):
        """Set what setuptools overwrites."""
        self.editable_mode = False
        self.build_lib = None

    def finalize_options(self):
        """Learn where the package is built."""
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self):
        """Compile for each machine, at the same time, unless its sources are older."""
        machines = [machine for machine in self._machines() if not self._is_current(machine)]
        compilers = [subprocess.Popen(self._compiler(machine)) for machine in machines]
        codes = [compiler.wait() for compiler in compilers]
        if any(codes):
            raise SystemExit("init was not built")

    def get_source_files(self):
        """Return what a source distribution needs."""
        return sorted(map(str, PACKAGE.glob("*.[ch]")))

    def get_outputs(self):
        """Return the files that `run` makes."""
        return [str(self._output(machine)) for machine in self._machines()]

    def get_output_mapping(self):
        """Return nothing: no file is a copy of another."""
        return {}

    def _machines(self):
        return (platform.machine(),) if self.editable_mode else MACHINES

    def _is_current(self, machine):
        output, sources = self._output(machine), [*self.get_source_files(), __file__]
        newest = max(os.stat(source).st_mtime for source in sources)
        return output.exists() and output.stat().st_mtime >= newest

    def _output(self, machine):
        root = Path() if self.editable_mode else Path(self.build_lib)
        return root / PACKAGE / "bin" / f"init-{machine}"

    def _compiler(self, machine):
        output = self._output(machine)
        output.parent.mkdir(parents=True, exist_ok=True)
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-musl"]
        return [*zig, *FLAGS, "-o", str(output), *sorted(map(str, PACKAGE.glob("*.c")))]


build.sub_commands = [*build.sub_commands, ("build_init", None)]
setup(cmdclass={"build_init": BuildInit})
