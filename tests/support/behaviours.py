"""Programs whose stdout, stderr and exit status say what a Python does, however it was started.

A way to start Python is as good as `python main.py` if every program of `PROGRAMS` ends as it does
there. The programs print nothing that differs from run to run: no pid, no address, no time.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent


@dataclass(frozen=True)
class Program:
    """A program: its files, and what follows `python` to run it. A file may be a link to a path."""

    name: str
    files: Mapping[str, str | bytes | Path]
    argv: tuple[str, ...] = ("main.py",)
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                path.symlink_to(content)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)


VOLATILE = [
    # the address of an object, on which no two processes agree
    (re.compile(rb"\b0x[0-9a-f]+"), b"0x"),
    # how deep a recursion went: one or two calls less, which are the waiter's
    (re.compile(rb"\[Previous line repeated \d+ more times\]"), b"[Previous line repeated]"),
]


def normal(output: bytes) -> bytes:
    """Return an output without what differs from run to run."""
    for pattern, replacement in VOLATILE:
        output = pattern.sub(replacement, output)
    return output


def empty(folder: Path) -> None:
    """Remove what is in a folder."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


PROGRAMS: dict[str, Program] = {}


def _program(
    name: str,
    main: str | bytes | Path = "",
    *argv: str,
    files: Mapping[str, str | bytes | Path] | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> None:
    assert name not in PROGRAMS, name
    text = dedent(main).lstrip("\n") if isinstance(main, str) else main
    all_files = {"main.py": text, **(files or {})}
    PROGRAMS[name] = Program(name, all_files, argv or ("main.py",), stdin, env or {})


# what the interpreter looks like

_program("nothing")
_program("print", "print(42)")
_program(
    "main module",
    """
    for name in list(globals()):
        if name != "__builtins__":
            print(name, str(globals()[name]).partition(" object at ")[0])
    print(__builtins__.__name__, __loader__.name, __loader__.path)
    """,
)
_program(
    "main module is the imported one",
    """
    import __main__, sys
    x = 1
    print(__main__.x, sys.modules[__name__] is __main__, vars(__main__) is globals())
    print(sorted(vars()) == sorted(dir()))
    """,
)
_program("docstring", "'''Of main.'''\nprint(__doc__)")
_program("annotations", "x: int = 1\nimport sys\nprint(sys.modules['__main__'].__annotations__)")
_program("argv", "import sys; print(sys.argv)", "main.py", "a", "-b", "", "c d", "é", "-m")
_program(
    "orig_argv", "import sys; print(getattr(sys, 'orig_argv', [])[1:])", "main.py", "-u", "main.py"
)
_program("path", "import sys; print(sys.path)")
_program("safe path", "import sys; print(sys.path)", env={"PYTHONSAFEPATH": "1"})
_program("python path", "import sys; print(sys.path)", env={"PYTHONPATH": "lib:/nonexistent"})
_program("flags", "import sys; print(sys.flags, sys.warnoptions, sys._xoptions)")
_program(
    "flags of the environment",
    "import sys; print(sys.flags, sys.warnoptions, __debug__)\nassert False",
    env={"PYTHONOPTIMIZE": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"},
)
_program("executable", "import sys; print(sys.executable, sys.prefix, sys.base_prefix)")
_program(
    "environment",
    """
    import os
    for item in sorted(os.environ.items()):
        print(*item)
    os.system("env | sort | grep -v ^_=")
    """,
)
_program(
    "standard streams",
    """
    import sys
    for stream in sys.stdin, sys.stdout, sys.stderr:
        print(stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering)
        print(stream.fileno(), stream.isatty(), type(stream.buffer).__name__, stream.write_through)
    print(sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)
    """,
)
_program(
    "encodings",
    """
    import locale, sys
    print(sys.getfilesystemencoding(), sys.getdefaultencoding(), locale.getpreferredencoding())
    print(locale.setlocale(locale.LC_ALL), "é€")
    """,
)
_program("latin-1 output", "print('é')", env={"PYTHONIOENCODING": "latin-1"})
_program("output that cannot be encoded", "print('€')", env={"PYTHONIOENCODING": "ascii"})
_program("C locale", "import sys; print('é', sys.stdout.encoding)", env={"LC_ALL": "C"})
_program(
    "POSIX locale without coercion",
    "import sys; print(sys.stdout.encoding, sys.flags.utf8_mode)",
    env={"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
)
_program("hash seed", "print(hash('a'), {'a', 'b', 'c'})", env={"PYTHONHASHSEED": "7"})
_program("seeded random", "import random; random.seed(1); print(random.random())")
_program(
    "limits",
    """
    import resource, sys, threading
    print(sys.getrecursionlimit(), sys.getswitchinterval(), threading.stack_size())
    print(threading.current_thread().name, threading.active_count())
    print(threading.current_thread() is threading.main_thread())
    """,
)
_program(
    "garbage collection",
    """
    import gc
    print(gc.isenabled(), gc.get_threshold(), gc.garbage, gc.get_debug(), gc.callbacks)
    class Ring:
        def __del__(self):
            print("gone")
    ring = Ring()
    ring.ring = ring
    del ring
    print(gc.collect() > 0)
    """,
)
_program(
    "descriptors",
    """
    import os
    listing = os.open("/proc/self/fd", os.O_RDONLY)
    print(sorted(map(int, os.listdir(listing))), listing)
    """,
)
_program(
    "signal dispositions",
    """
    import signal, subprocess
    for number in sorted(signal.valid_signals()):
        print(int(number), getattr(signal.getsignal(number), "__name__", signal.getsignal(number)))
    print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getitimer(signal.ITIMER_REAL))
    subprocess.run(["grep", "^Sig[BIC]", "/proc/self/status"])
    """,
)
_program(
    "folder and umask",
    "import os; print(os.getcwd(), oct(os.umask(0)), os.getpid() == os.getsid(0) == os.getpgid(0))",
)
_program(
    "warning filters",
    """
    import warnings
    warnings.warn("a", DeprecationWarning)
    warnings.warn("b", UserWarning)
    warnings.warn("c", ResourceWarning)
    warnings.warn("d", PendingDeprecationWarning)
    """,
)

# source

_program("empty file", b"")
_program("null byte", b"print(1)\nprint('\0')\n")
_program("null byte in a comment", b"print(1)\n# \0\nprint(2)\n")
_program("byte order mark", b"\xef\xbb\xbfprint('\xc3\xa9')\n")
_program("encoding cookie", b"# -*- coding: latin-1 -*-\nprint('\xe9')\n")
_program("unknown encoding", b"# coding: nonsense\nprint(1)\n")
_program("mark against the cookie", b"\xef\xbb\xbf# coding: latin-1\nprint(1)\n")
_program("not UTF-8", b"print(1)\nprint('\xe9')\n")
_program("CRLF", b"x = '''a\r\nb'''\r\nprint(repr(x))\r\nif x:\r\n    print(1)\r\n")
_program("lone CR", b"print(1)\rprint(2)\r")
_program("form feed", b"print(1)\n\x0cprint(2)\n")
_program("no final newline", b"if 1:\n    print(1)")
_program("first line for a shell", "#!/usr/bin/env python\nprint(1)\n")
_program("long line", "x = " + "+".join(["1"] * 2000) + "\nprint(x, '" + "y" * 100_000 + "')\n")
_program("deep nesting", "print(" + "(" * 150 + "1" + ")" * 150 + ")")
_program("too deep nesting", "(" * 300 + ")" * 300)
_program("syntax error", "print(1)\nprint(2\n")
_program("syntax error at the end", "print(1)\ndef f(:\n")
_program("indentation error", "if 1:\nprint(1)\n")
_program("tabs and spaces", "if 1:\n        x = 1\n\ty = 2\n")
_program("return outside", "print(1)\nreturn\n")
_program("binary", bytes(range(256)))
_program("syntax warnings", "x = 1 is 1\nprint('\\d', x)\n")
_program("syntax warnings before an error", "x = '\\d'\nx is 1\ndef f(:\n")
_program("syntax warning as an error", "x = 1 is 1\n", env={"PYTHONWARNINGS": "error"})
_program(
    "future import",
    "from __future__ import annotations\ndef f(x: nothing): pass\nprint(f.__annotations__)",
)
_program(
    "no future import",
    "def f(x: int): pass\nprint(f.__annotations__, compile('1', '', 'eval').co_flags & 0x1FE0000)",
)
_program("missing file", "", "missing.py")
_program("folder", "", "package", files={"package/__main__.py": "import sys; print(sys.argv)"})
_program("folder without main", "", "package", files={"package/x": ""})
_program("unreadable", Path("/proc/self/mem"))
_program("device", "", "/dev/null")
_program("stdin as a script", "", "-", "a", stdin=b"import sys; print(sys.argv)")
_program("no script", "", stdin=b"print(1)")
PROGRAMS["no script"] = Program("no script", {}, (), b"import sys; print(sys.argv, __name__)")
_program("code", "", "-c", "import sys; print(sys.argv, 1)", "a")
_program("option -u", "import sys; print(sys.flags, sys.argv)", "-u", "main.py", "a")
_program("option -I", "import sys; print(sys.flags, sys.path)", "-I", "main.py")
_program("option -X", "import sys; print(sys._xoptions)", "-X", "dev", "main.py")
_program("option -W", "import warnings; warnings.warn('x')", "-W", "error", "main.py")
_program("unknown option", "", "--nonsense")
_program("version", "", "-V")
_program(
    "link",
    Path("real/main.py"),
    files={
        "real/main.py": "import sys; print(__file__, sys.path[0])\nimport beside\n1/0",
        "real/beside.py": "print(__file__)",
    },
)
_program("dangling link", Path("nothing"))
_program(
    "folder of the script",
    "",
    "sub/../sub/main.py",
    files={
        "sub/main.py": "import beside, sys; print(__file__, sys.path[0], sys.argv)\n1/0",
        "sub/beside.py": "print(__file__)",
        "beside.py": "print('not this')",
    },
)
_program("dotted path", "import sys; print(__file__, sys.argv, sys.path[0])\n1/0", "./main.py")
_program("other name", "", "prog", files={"prog": "print(__file__, __name__)"})
_program("name of compiled code", "", "x.pyc", files={"x.pyc": "print(1)"})
_program(
    "own modules",
    "import a, b.c\nprint(a.x, b.c.y, a.__file__, b.__path__)",
    files={"a.py": "x = 1", "b/c.py": "y = 2"},
)
for _name in "random", "json", "decimal", "re", "functools", "types", "signal", "linecache":
    _program(
        f"own {_name}",
        f"import {_name}\nprint({_name}.__file__, {_name}.x)",
        files={f"{_name}.py": "x = 'own'"},
    )
_program(
    "own package in place of a standard one",
    "import json.own\nprint(json.__file__, json.own.x)",
    files={"json/__init__.py": "", "json/own.py": "x = 1"},
)
_program("own os is not imported", "import os; print(os.sep)", files={"os.py": "x = 1"})
_program("own gc is not imported", "import gc; print(gc.isenabled())", files={"gc.py": "x = 1"})
_program(
    "named as a standard module",
    "",
    "random.py",
    files={"random.py": "import random as r\nprint(r.__file__ == __file__)"},
)
_program("import of main", "import main\nprint(__name__)", files={"x": ""})

# modules as programs

_TESTS = """
    import unittest, sys
    class Test(unittest.TestCase):
        def test_good(self):
            self.assertEqual(1, 1)
        def test_bad(self):
            self.assertEqual(1, 2)
        @unittest.skip("why")
        def test_skipped(self):
            pass
    """
_program("unittest", _TESTS + "unittest.main(buffer=True)\n".rjust(31))
_QUIET = "import io, re, unittest.runner as r; r.time.perf_counter = lambda: 0\n"
_program("-m unittest", "", "-m", "unittest", files={"test_main.py": _QUIET + dedent(_TESTS)})
_program(
    "-m unittest, one test, verbose",
    "",
    *("-m", "unittest", "-v", "test_main.Test.test_good"),
    files={"test_main.py": _QUIET + dedent(_TESTS)},
)
_program("-m unittest --help", "", "-m", "unittest", "--help")
_program("-m json.tool", "", "-m", "json.tool", stdin=b'{"a": [1]}')
_program("-m json.tool, no JSON", "", "-m", "json.tool", stdin=b"{")
_program("-m calendar", "", "-m", "calendar", "2020", "2")
_program("-m this", "", "-m", "this")
_PACKAGE = {
    "pkg/__init__.py": "print(__name__)",
    "pkg/__main__.py": """
import sys
from . import other
print(__name__, __package__, __spec__.name, __file__, __doc__, sys.argv, sys.path[0])
print(sorted(globals()), __loader__.__class__.__name__)
print(getattr(sys, "orig_argv", [])[1:])
1/0
""",
    "pkg/other.py": "print(__name__)",
    "pkg/exits.py": "import sys; sys.exit(__name__)",
}
_program("-m package", "", "-m", "pkg", "a", "-b", files=_PACKAGE)
_program("-m module of a package", "", "-m", "pkg.exits", files=_PACKAGE)
_program("-m main", "print(__name__, __spec__.name)\nraise KeyError(1)", "-m", "main")
_program("-m package without main", "", "-m", "pkg", files={"pkg/__init__.py": "print(1)"})
_program("-m missing", "", "-m", "missing")
_program("-m missing in a package", "", "-m", "pkg.missing", files=_PACKAGE)
_program("-m with a syntax error", "def f(:", "-m", "main")
_program("-m relative", "", "-m", ".main")
_program("-m without a name", "", "-m")
_program("-m and a name in one", "print(1)", "-mmain")
_program("-m own json", "", "-m", "json", files={"json.py": "print('own')"})
_program("-m own runpy", "print(1)", "-m", "main", files={"runpy.py": "print('own')"})
_program(
    "runpy",
    """
    import runpy, sys
    print(runpy.run_path("other.py", run_name="x")["y"], sys.argv, __name__)
    print(runpy.run_module("other")["y"])
    runpy.run_module("other", run_name="__main__", alter_sys=True)
    """,
    files={"other.py": "import sys; y = __name__, __file__, sys.argv; print(y)"},
)

# exceptions and the end

_program("exception", "def f():\n    1/0\n\nprint(1)\nf()\n")
_program("exception at the first line", "1/0")
_program("exception of two lines", "int(\n    'x'\n)\n")
_program("exception with a note", "e = ValueError('a\\nb')\nraise e")
_program(
    "chained exceptions",
    """
    def f():
        try:
            1/0
        except ZeroDivisionError as error:
            raise KeyError("a") from error
    try:
        f()
    except KeyError:
        {}["b"]
    """,
)
_program(
    "exception that is its own context",
    """
    a, b = ValueError("a"), ValueError("b")
    a.__context__, b.__cause__ = b, a
    raise a
    """,
)
_program(
    "tracebacks that a program prints",
    """
    import sys, traceback
    def f():
        raise ValueError("a")
    try:
        f()
    except ValueError as error:
        traceback.print_exc()
        print(traceback.format_exc(limit=1), len(traceback.extract_tb(error.__traceback__)))
    try:
        exec("1/0")
    except ZeroDivisionError:
        traceback.print_exc()
    """,
)
_program(
    "exception group",
    """
    try:
        raise ExceptionGroup("g", [ValueError(1), TypeError(2)])
    except* TypeError:
        raise OSError(3)
    """,
)
_program("exception raised by import", "import a", files={"a.py": "import b", "b.py": "1/0"})
_program("missing module", "import nothing_of_that_name")
_program("name error suggests", "count = 1\nprint(cuont)")
_program("syntax error in eval", "eval('1 +')")
_program("exception without a message", "raise Exception")
_program(
    "exception whose text fails",
    "class E(Exception):\n    def __str__(self): 1/0\nraise E",
)
_program("recursion error", "def f(): f()\nf()")
_program(
    "recursion is deep enough",
    """
    import sys
    def f(n):
        return n and 1 + f(n - 1)
    print(f(980))
    sys.setrecursionlimit(5000)
    print(f(4900))
    """,
)
_program("memory error", "x = 'x' * (1 << 62)")
_program(
    "memory limit",
    """
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    x = b"x" * (1 << 31)
    """,
)
_program("keyboard interrupt", "def f():\n    raise KeyboardInterrupt\nf()")
_program(
    "interrupt by a signal", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint(1)"
)
_program("generator exit", "raise GeneratorExit")
for _number, _code in enumerate(
    (
        *("", "None", "0", "3", "-1", "256", "2**40", "2**70", "True", "False"),
        *("'text'", "''", "(1, 2)", "1.0", "object", "b'x'", "'é'", "[]"),
    )
):
    _program(f"exit {_number}: {_code}", f"import sys\nprint(1)\nsys.exit({_code})")
_program("raise SystemExit", "raise SystemExit")
_program("raise SystemExit with a code", "def f():\n    raise SystemExit(7)\nf()")
_program("raise SystemExit with two", "raise SystemExit(1, 2)")
_program(
    "exit by a subclass",
    "class Leave(SystemExit):\n    code = 5\n    def __init__(self): pass\nraise Leave",
)
_program(
    "exit without a code",
    "class Leave(SystemExit):\n    code = property(lambda self: 1/0)\nraise Leave",
)
_program("exit of a text that fails", "class X:\n    def __str__(self): 1/0\nraise SystemExit(X())")
_program("builtin exit", "exit(4)")
_program("builtin quit", "quit('bye')")
_program("exit in finally", "import sys\ntry:\n    1/0\nfinally:\n    sys.exit(6)")
_program("os._exit", "import os\nprint(1)\nprint(2, flush=True)\nprint(3)\nos._exit(9)")
_program("abort", "import os; os.abort()")
for _signal in "SIGKILL", "SIGTERM", "SIGSEGV", "SIGPIPE", "SIGUSR1":
    _program(
        f"killed by {_signal}",
        f"import os, signal\nprint(1, flush=True)\nos.kill(os.getpid(), signal.{_signal})",
    )
_program(
    "signal handlers",
    """
    import os, signal, sys
    def handle(number, frame):
        print(number, frame.f_code.co_name, frame.f_lineno)
    signal.signal(signal.SIGUSR1, handle)
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGTERM, lambda *args: sys.exit(8))
    signal.raise_signal(signal.SIGTERM)
    """,
)
_program(
    "alarm",
    """
    import signal
    def late(*args):
        raise TimeoutError("late")
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.pause()
    """,
)
_program(
    "excepthook",
    """
    import sys, traceback
    def hook(kind, value, tb):
        print(kind, value, tb is value.__traceback__ is sys.last_traceback, sys.last_value is value)
        print(traceback.extract_tb(tb), sys.excepthook is hook, sys.exc_info(), __file__)
    sys.excepthook = hook
    def f():
        1/0
    f()
    """,
)
_program("excepthook fails", "import sys\nsys.excepthook = lambda *args: [].x\n1/0")
_program("excepthook exits", "import sys\nsys.excepthook = lambda *args: sys.exit(3)\n1/0")
_program("excepthook is the default", "import sys\nprint(sys.excepthook is sys.__excepthook__)")
_program("excepthook does not fit", "import sys\nsys.excepthook = 5\n1/0")
_program("tracebacklimit", "import sys\nsys.tracebacklimit = 1\ndef f(): 1/0\ndef g(): f()\ng()")
_program(
    "atexit",
    """
    import atexit, os, sys
    print("buffered")
    for number in range(3):
        atexit.register(print, number)
    atexit.register(os.write, 1, b"direct\\n")
    atexit.register(lambda: print("__file__" in globals(), "__cached__" in globals(), __name__))
    atexit.register(lambda: 1/0)
    atexit.register(sys.exit, 5)
    """,
)
_program(
    "atexit after an exception",
    """
    import atexit, os, sys
    print("buffered")
    atexit.register(os.write, 1, b"direct\\n")
    atexit.register(lambda: print("__file__" in globals(), sys.last_type, hasattr(sys, "last_exc")))
    1/0
    """,
)
_program(
    "atexit after an exit",
    """
    import atexit, os, sys
    print("buffered")
    atexit.register(os.write, 1, b"direct\\n")
    atexit.register(lambda: print("__file__" in globals(), hasattr(sys, "last_type")))
    sys.exit("text")
    """,
)
_program(
    "atexit of a module",
    "import atexit, os, sys\nprint(1)\natexit.register(lambda: print('__file__' in globals()))\n"
    "atexit.register(os.write, 1, b'2')",
    *("-m", "main"),
)
_program("atexit registered in atexit", "import atexit\natexit.register(atexit.register, print, 1)")
_program(
    "thread started in atexit",
    """
    import atexit, threading, time
    work = lambda: time.sleep(0.05) or print("thread")
    atexit.register(lambda: threading.Thread(target=work).start())
    """,
)
LOUD = """\
class Loud:
    def __init__(self, name): self.name = name
    def __del__(self): print("end of", self.name)
"""
_program(
    "deletion at the end",
    """
    import sys, weakref
    class Loud:
        def __init__(self, name):
            self.name = name
        def __del__(self):
            print("end of", self.name, sys is not None, __name__, "__file__" in globals())
    b, a = Loud("b"), Loud("a")
    _under = Loud("_under")
    ring = Loud("ring")
    ring.ring = ring
    sys.kept = Loud("kept by sys")
    weakref.finalize(a, print, "finalized")
    def function(default=Loud("default")):
        pass
    """,
)
_program(
    "deletion after an exception",
    LOUD + "a = Loud('a')\ndef f():\n    b = Loud('b')\n    1/0\nf()",
)
_program(
    "deletion after an exit",
    "import sys\n" + LOUD + "a = Loud('a')\ndef f():\n    b = Loud('b')\n    sys.exit(1)\nf()",
)
_program(
    "deletion in other modules",
    "import a, b\nx = a.Loud('main')\na.other, b.other = b.y, a.x",
    files={
        "a.py": LOUD + "x = Loud('a')",
        "b.py": "import a\ny = a.Loud('b')\nz = a.Loud('z')",
    },
)
_program("deletion fails", "class X:\n    def __del__(self): 1/0\nx = X()\ny = X()\ndel y\n")
_program(
    "deletion prints late",
    "import os\nclass X:\n    def __del__(self): print('x' * 9000); os.write(1, b'!')\nx = X()",
)
_program(
    "generator at the end", "def g():\n    try: yield 1\n    finally: print(2)\nx = g(); next(x)"
)
_program(
    "file left open", "f = open('x', 'w'); f.write('1')\nimport os\nprint(os.path.getsize('x'))"
)
_program(
    "resource warning",
    "f = open('main.py')\ndel f\ng = open('main.py')",
    env={"PYTHONWARNINGS": "always"},
)
_program(
    "exception ignored", "import weakref\nclass X: pass\nx = X()\nr = weakref.ref(x, lambda _: 1/0)"
)

# streams

_program("input", "print(input('? '), input())", stdin=b"a b\nc\n")
_program("input at the end of file", "input()")
_program("read", "import sys; print(repr(sys.stdin.read()))", stdin="é\r\nx".encode())
_program("lines", "import sys\nfor line in sys.stdin: print(repr(line))", stdin=b"a\n\nb")
_program("binary input", "import sys; print(sys.stdin.buffer.read())", stdin=bytes(range(256)))
_program("wrong input", "import sys; print(sys.stdin.read())", stdin=b"\xff")
_program("file of stdin", "import os; print(open(0).read(), os.read(0, 9))", stdin=b"abc")
_program("stdin of a child", "import os; os.system('cat')", stdin=b"abc")
_program(
    "pickled input", "import pickle, sys; print(pickle.load(sys.stdin.buffer))", stdin=b"I1\n."
)
_program("large output", "for n in range(30000): print(n)")
_program("large errors", "import sys\nfor n in range(20000): print(n, file=sys.stderr)")
_program("binary output", "import sys; sys.stdout.buffer.write(bytes(range(256)))")
_program(
    "order of buffers",
    """
    import os, subprocess, sys
    print(1)
    os.write(1, b"2\\n")
    subprocess.run(["echo", "3"])
    print(4, end="")
    """,
)
_program(
    "unbuffered",
    "import os, sys\nprint(1)\nos.write(1, b'2\\n')\nprint(sys.stdout.write_through)",
    env={"PYTHONUNBUFFERED": "1"},
)
_program("reconfigured", "import sys\nsys.stdout.reconfigure(encoding='utf-16')\nprint('é')")
_program("closed stdout", "import sys\nprint(1)\nsys.stdout.close()\nprint(2)")
_program("closed stdout at the end", "import sys\nprint(1)\nsys.stdout.close()")
_program("closed stderr", "import sys\nsys.stderr.close()\nsys.exit(2)")
_program("closed descriptor", "import os\nprint(1)\nos.close(1)")
_program("no stdout", "import sys\nsys.stdout = None\nprint(1)")
_program("no stderr", "import sys\nsys.stderr = None\n1/0")
_program("deleted stdout", "import sys\ndel sys.stdout\nprint(1)")
_program(
    "replaced stdout",
    "import io, sys\nsys.stdout = io.StringIO()\nprint(1)\nsys.__stdout__.write('2')",
)
_program(
    "flushes of a replaced stdout",
    """
    import sys
    class Loud:
        def write(self, text):
            return sys.__stdout__.write(text)
        def flush(self):
            sys.__stdout__.write("flush\\n")
    sys.stdout = Loud()
    print(1)
    """,
)
_program("flush that fails", "import sys\nclass X:\n    def flush(self): 1/0\nsys.stdout = X()")
_program(
    "broken pipe at the end",
    "import os\nr, w = os.pipe()\nos.dup2(w, 1)\nos.close(r)\nprint(1)",
)
_program(
    "broken pipe", "import os\nr, w = os.pipe()\nos.dup2(w, 1)\nos.close(r)\nprint(1, flush=True)"
)
_program("full device", "import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)\nprint(1)")

# threads and processes

_program(
    "threads at the end",
    """
    import threading, time
    def work(name, seconds):
        time.sleep(seconds)
        print(name)
    threading.Thread(target=work, args=("thread", 0.05)).start()
    threading.Thread(target=work, args=("daemon", 9), daemon=True).start()
    print("main")
    """,
)
_program(
    "exceptions in threads",
    """
    import sys, threading
    for target in (lambda: 1/0), sys.exit:
        thread = threading.Thread(target=target, name="t")
        thread.start()
        thread.join()
    print(threading.active_count())
    """,
)
_program(
    "thread pool at the end",
    """
    import time
    from concurrent.futures import ThreadPoolExecutor
    pool = ThreadPoolExecutor(2)
    pool.submit(lambda: time.sleep(0.05) or print("done"))
    """,
)
_program(
    "thread that outlives an exception",
    """
    import threading, time
    threading.Thread(target=lambda: time.sleep(0.05) or print(1)).start()
    1/0
    """,
)
for _method in "fork", "spawn", "forkserver":
    _program(
        f"multiprocessing, {_method}",
        f"""
        import multiprocessing as mp, sys
        print("import of", __name__ in ("__main__", "__mp_main__"), flush=True)
        class Point:
            def __init__(self, x):
                self.x = x
        def work(point):
            return point.x, __name__.strip("_")[:2], sys.argv, mp.get_start_method()
        if __name__ == "__main__":
            sys.stdout.flush()
            mp.set_start_method("{_method}")
            with mp.Pool(1) as pool:
                print(pool.map(work, [Point(1)]), flush=True)
                pool.close()
                pool.join()
            process = mp.Process(target=sys.exit, args=(3,))
            process.start()
            process.join()
            print(process.exitcode)
        """,
        *("main.py", "a"),
    )
_program(
    "spawn of a module",
    """
    import multiprocessing as mp, sys
    def work():
        print(__name__, __spec__.name, sys.argv[1:], flush=True)
    if __name__ == "__main__":
        process = mp.get_context("spawn").Process(target=work)
        process.start()
        process.join()
    """,
    *("-m", "main", "a"),
)
_program(
    "process pool",
    """
    from concurrent.futures import ProcessPoolExecutor
    def square(x):
        return x * x
    if __name__ == "__main__":
        with ProcessPoolExecutor(2) as pool:
            print(list(pool.map(square, range(4))))
    """,
)
_program(
    "fork",
    """
    import os, sys
    print("before")
    if os.fork() == 0:
        print("child")
        sys.exit(3)
    print("parent", os.waitstatus_to_exitcode(os.wait()[1]))
    """,
)
_program(
    "fork to the end", "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nprint(pid == 0)"
)
_program("fork and an exception", "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\n1/0")
_program(
    "subprocess",
    """
    import subprocess, sys
    run = subprocess.run([sys.executable, "-c", "import sys; print(sys.flags, sys.argv)"],
                         capture_output=True, text=True)
    print(run.stdout, run.stderr, run.returncode)
    print(subprocess.getoutput("ls"))
    """,
)
_program(
    "exec of itself",
    """
    import os, sys
    print(len(sys.argv), flush=True)
    if len(sys.argv) < 3:
        os.execv(sys.executable, [sys.executable, *sys.argv, "x"])
    """,
)
_program("exec of a command", "import os; os.execvp('sh', ['sh', '-c', 'yes | head -n 1; exit 4'])")
_program(
    "asyncio",
    """
    import asyncio
    async def work(n):
        await asyncio.sleep(0.001 * n)
        return n
    async def main():
        print(await asyncio.gather(work(2), work(1)))
        process = await asyncio.create_subprocess_exec("echo", "x", stdout=-1)
        print(await process.communicate())
        print(await asyncio.to_thread(lambda: 5))
        raise KeyError("end")
    asyncio.run(main())
    """,
)
_program(
    "asyncio, lost task",
    """
    import asyncio
    async def fail():
        1/0
    async def main():
        asyncio.create_task(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    asyncio.run(main())
    """,
)
_program("coroutine never awaited", "async def f(): pass\nf()\nx = f()")

# the library

_program(
    "pickle",
    """
    import pickle, copy
    class Point:
        def __init__(self, x): self.x = x
        def __eq__(self, other): return self.x == other.x
    print(pickle.loads(pickle.dumps(Point(1))) == Point(1), copy.deepcopy(Point(2)).x)
    print(pickle.dumps(Point, 0))
    """,
)
_program(
    "dataclasses and hints",
    """
    from __future__ import annotations
    import dataclasses, typing
    @dataclasses.dataclass(order=True)
    class Node:
        value: int
        next: Node | None = None
        kind: typing.ClassVar[str] = "k"
    print(Node(1, Node(2)), dataclasses.fields(Node)[0].type, Node.__module__)
    print(typing.get_type_hints(Node, None, {}) if hasattr(int, "__or__") else "")
    """,
)
_program(
    "inspect",
    """
    import inspect, linecache, sys
    def f(x):
        return x  # here
    class A:
        y = 1
    print(inspect.getsource(f), inspect.getsource(A), inspect.getsourcefile(f), f.__code__)
    print(inspect.getmodule(f), linecache.getline(__file__, 2))
    """.replace(", f.__code__)", ", f.__code__.co_filename)"),
)
_program(
    "names and frames",
    """
    import sys
    def f():
        return sys._getframe(1).f_code.co_name, sys._getframe(1).f_globals is globals()
    print(f(), sys._getframe().f_lineno, sys._getframe().f_code.co_filename)
    """,
)
_program(
    "named tuples and enums",
    """
    import collections, enum, typing
    print(collections.namedtuple("T", "a")(1).__class__.__module__)
    print(enum.Enum("E", "a b").a.__class__.__module__)
    print(typing.NamedTuple("N", [("a", int)]).__module__)
    print(typing.TypeVar("X").__module__)
    """,
)
_program(
    "warnings have a place",
    """
    import warnings
    def f():
        warnings.warn("here")
        warnings.warn("there", stacklevel=2)
        warnings.warn("old", DeprecationWarning, stacklevel=2)
    f()
    f()
    warnings.warn("top")
    print(sorted(k for k in globals() if "warn" in k))
    """,
)
_program(
    "warnings as errors", "import warnings\nwarnings.simplefilter('error')\nwarnings.warn('x')"
)
_program(
    "logging",
    "import logging\nlogging.warning('a')\nlogging.getLogger(__name__).error('b')\n"
    "logging.basicConfig(format='%(filename)s %(lineno)d %(funcName)s %(module)s')\n"
    "try: 1/0\nexcept Exception: logging.exception('c')",
)
_program(
    "trace",
    """
    import sys
    def trace(frame, event, arg):
        if frame.f_code.co_filename == __file__:
            print(event, frame.f_code.co_name, frame.f_lineno)
        return trace
    def f():
        return 1
    sys.settrace(trace)
    f()
    sys.settrace(None)
    sys.setprofile(lambda frame, event, arg: print(event, frame.f_lineno))
    f()
    sys.setprofile(None)
    """,
)
_program(
    "trace to the end",
    "import sys\nsys.settrace(lambda f, e, a: sys.stdout.write(f.f_code.co_filename))",
)
_program(
    "profile",
    "import cProfile\nprint(cProfile.Profile().runcall(sum, [1, 2]))",
)
_program(
    "context variables",
    """
    import contextvars
    v = contextvars.ContextVar("v", default=1)
    print(len(contextvars.copy_context()), v.get())
    v.set(2)
    contextvars.copy_context().run(v.set, 3)
    print(v.get(), len(contextvars.copy_context()))
    """,
)
_program(
    "faulthandler",
    "import faulthandler\nprint(faulthandler.is_enabled())",
    env={"PYTHONFAULTHANDLER": "1"},
)
_program(
    "development mode",
    "f = open('main.py')\ndel f\nimport sys\nprint(sys.flags)",
    env={"PYTHONDEVMODE": "1"},
)
_program(
    "tracemalloc",
    "import tracemalloc\nprint(tracemalloc.is_tracing(), tracemalloc.get_traceback_limit())",
    env={"PYTHONTRACEMALLOC": "3"},
)
_program("breakpoint", "x = 5\nbreakpoint()\nprint(x)", stdin=b"p x\nx = 6\nc\n")
_program("breakpoint is off", "breakpoint()\nprint(1)", env={"PYTHONBREAKPOINT": "0"})
_program("console", "import code\ncode.interact(banner='', local={'x': 1})", stdin=b"x + 1\n1/0\n")
_program("help", "def f(x):\n    'About f.'\nhelp(f)")
_program(
    "decimal and random states",
    """
    import decimal, random
    print(decimal.getcontext(), decimal.Decimal(1) / 3)
    random.seed("x")
    print([random.randint(0, 9) for _ in range(9)])
    """,
)
_program("doctest", "'''\n>>> 1 + 1\n3\n'''\nimport doctest\nprint(doctest.testmod())")
_program("argparse", "import argparse\nargparse.ArgumentParser().parse_args()", "main.py", "-h")
_program(
    "argparse of a module",
    "import argparse\nargparse.ArgumentParser().parse_args()",
    "-m",
    "main",
    "x",
)
_program(
    "sqlite and temporary files",
    "import sqlite3, tempfile\nprint(sqlite3.connect(':memory:').execute('select 1').fetchall())\n"
    "with tempfile.NamedTemporaryFile() as f: print(f.write(b'1'))",
)
_program(
    "import hooks",
    "import sys\nprint(len(sys.meta_path), len(sys.path_hooks))\nprint(sys.meta_path)",
)
_program(
    "site",
    "import site, builtins\nprint(copyright, site.ENABLE_USER_SITE, 'site' in dir(builtins))",
)
