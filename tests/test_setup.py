"""setup.py compiles init, with a compiler that only notes its calls."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.support.server import REPOSITORY

pytest.importorskip("setuptools")

COMPILER = """
import sys
output = sys.argv[sys.argv.index("-o") + 1]
open(output, "w").write("compiled")
open("calls", "a").write(output + "\\n")
"""
EDITABLE = """
import setuptools
commands = {}
setuptools.setup = lambda cmdclass: commands.update(cmdclass)
exec(open("setup.py").read(), {"__file__": "setup.py"})
command = commands["build_init"](setuptools.Distribution())
command.editable_mode = True
command.run()
"""


@pytest.fixture
def install(tmp_path):
    """Return a function that installs a copy of the sources, and tells how often it compiled."""
    sources = tmp_path / "codapi_flask/init"
    sources.mkdir(parents=True)
    for path in [*(REPOSITORY / "codapi_flask/init").glob("*.[ch]"), REPOSITORY / "setup.py"]:
        shutil.copy2(path, tmp_path if path.suffix == ".py" else sources)
    (tmp_path / "ziglang").mkdir()
    (tmp_path / "ziglang/__main__.py").write_text(COMPILER)
    (tmp_path / "calls").touch()

    def install():
        variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
        subprocess.run([sys.executable, "-c", EDITABLE], cwd=tmp_path, env=variables, check=True)
        return len((tmp_path / "calls").read_text().splitlines())

    return install


@pytest.mark.parametrize(
    "name", ["setup.py", "codapi_flask/init/init.c", "codapi_flask/init/parse.h"]
)
def test_init_is_compiled_again_only_after_a_change(install, tmp_path, name):
    assert install() == 1
    assert install() == 1
    [output] = (tmp_path / "codapi_flask/init/bin").iterdir()
    later = output.stat().st_mtime + 1
    os.utime(tmp_path / name, (later, later))
    assert install() == 2
