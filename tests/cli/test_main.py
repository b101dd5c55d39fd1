import subprocess
import sys

from codapi_flask.cli.main import COMMANDS

HEAVY = "flask", "docker", "pydantic", "requests", "gunicorn", "mcp", "markdown_it"


def test_help_names_every_command(codapi):
    status, stdout, _ = codapi("--help")
    assert status == 0
    assert all(f"  {name} " in stdout for name in COMMANDS)


def test_help_imports_nothing_heavy():
    code = "import sys; from codapi_flask.cli.main import main"
    code += "; main(['--help'], standalone_mode=False)"
    code += f"; print([name for name in {HEAVY} if name in sys.modules])"
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert printed.endswith("[]\n")


def test_unknown_command_is_named(codapi):
    status, _, stderr = codapi("frobnicate")
    assert status == 2
    assert "No such command 'frobnicate'" in stderr
