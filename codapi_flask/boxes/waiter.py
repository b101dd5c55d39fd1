"""A Python that starts before its program is known, and becomes that program.

Ahead of a run, a box executes the text of this file as `python -c TEXT MODULE...`, with the
descriptors of the run as 0 to 2. It imports the modules, writes one byte to descriptor 4 and reads
the arguments of the run from descriptor 3 to its end, each NUL-terminated: `python`, `main.py`,
`a`. It goes on as `python main.py a` or `python -m MODULE a` does. It executes all other arguments
as usual, and exits if there are none. A module that cannot be imported ends it with status 1 and
a traceback on stderr.

It runs on CPython 3.8 to 3.14.
"""

import atexit
import gc
import io
import os
import sys

TYPE_CHECKING = False  # typing is not loaded by a script, nor is types
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import CodeType, TracebackType
    from typing import Any

GO, READY = 3, 4
SAFE_PATH = getattr(sys.flags, "safe_path", False)
SUFFIXES = "py", "pyc", "so"
FORGOTTEN = "__file__", "__cached__"
"""What `__main__` loses when a script has ended, before its atexit functions."""


def preload(modules: "list[str]") -> "Mapping[str, object]":
    """Import modules, and return all that got loaded.

    What they print is dropped, since an answer must not begin with it.
    """
    before = set(sys.modules)
    withheld: dict[str, Any] = {}
    # Without this, the interpreter would clear all modules at its end, which takes longer than most
    # programs. What is registered first is called last; a trace function does not see this call.
    atexit.register(sys.modules.update, withheld)
    saved = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        for name in modules:
            __import__(name)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if "ctypes" in sys.modules:
            sys.modules["ctypes"].pythonapi.fflush(None)
        for descriptor, copy in enumerate(saved, 1):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(null)
    loaded = {name: module for name, module in sys.modules.items() if name not in before}
    # the interpreter looks for threads that functions of the end have started
    withheld.update(dict.fromkeys(loaded.keys() - {"threading"}))
    return loaded


def wait() -> "list[str]":
    """Tell that the process waits; return the arguments of the run."""
    # the first compilation makes the types of syntax trees, which takes a millisecond
    compile("0", "<string>", "exec")
    # no collection visits what exists now, not even the one at the end of the interpreter
    gc.collect()
    gc.freeze()
    os.write(READY, b"!")
    os.close(READY)
    with open(GO, "rb") as go:
        message = go.read()
    if not message:
        os._exit(0)
    return [os.fsdecode(argument) for argument in message.split(b"\0")[:-1]]


def compile_script(path: str) -> "CodeType":
    """Return the code of a script.

    Raises:
        Exception: it is not Python source, or a fresh interpreter has to say what is wrong with it.
    """
    if path.endswith(".pyc") or not os.path.isfile(path):
        raise ValueError("compiled code, a directory or a device")
    with open(path, "rb", buffering=0) as file:
        source = file.read()
    stderr = sys.stderr
    warnings = sys.stderr = io.StringIO()
    try:
        code = compile(source, path, "exec", dont_inherit=True)
    finally:
        sys.stderr = stderr
    # not before: a fresh interpreter would repeat them
    if warnings.tell():
        print(end=warnings.getvalue(), file=stderr)
    return code


def find_program(
    argv: "list[str]", loaded: "Collection[str]", roots: "Collection[str]"
) -> "tuple[str, str, CodeType | None]":
    """Return the path, the first folder to import from and the code of a script.

    A module, `-m NAME`, has no code yet. `loaded` are the modules that a script would not find
    loaded, `roots` the first parts of their names.

    Raises:
        Exception: only a fresh interpreter does the same as `python` with these arguments.
    """
    path, folder = "", os.getcwd()
    if argv[1] != "-m":
        if argv[1].startswith("-"):
            raise ValueError("an option")
        path = os.path.join(folder, argv[1]) if sys.version_info >= (3, 9) else argv[1]
        if "/" in argv[1] or os.path.islink(argv[1]):
            folder = os.path.dirname(os.path.realpath(argv[1]))
    elif "." in argv[2] and argv[2] in loaded:
        raise ValueError("runpy warns of a loaded module")
    for entry in os.listdir(folder):
        # a folder may be a module too
        if entry.partition(".")[0] in roots and entry.rpartition(".")[2] in (*SUFFIXES, entry):
            raise ValueError("a module of the program's own that is not the loaded one")
    return path, folder, compile_script(path) if path else None


def execute(argv: "list[str]", env: "dict[str, str]") -> None:
    """Replace the process, as a fresh one starts: without the signals that Python ignores."""
    import signal

    for number in signal.SIGPIPE, signal.SIGXFSZ:
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(argv[0], argv, env)  # noqa: S606


def become(argv: "list[str]", path: str, folder: str) -> "dict[str, object]":
    """Look as if started with these arguments; return the names of the new `__main__`."""
    module = type(sys)("__main__")
    main = vars(module)
    for name in "__loader__", "__annotations__", "__builtins__":
        # which of them there are depends on the version
        if name in globals():
            main[name] = globals()[name]
    if path:
        bootstrap = sys.modules["_frozen_importlib_external"]
        main["__loader__"] = bootstrap.SourceFileLoader("__main__", path)
        main["__file__"] = path
        main["__cached__"] = None
    sys.modules["__main__"] = module
    sys.argv = argv[1:] if path else ["-m", *argv[3:]]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv = argv
    if not SAFE_PATH:
        sys.path.insert(0, folder)
    return main


def hide(error: BaseException, main: "dict[str, object]") -> None:
    """Keep this file out of the traceback of an exception that ends the program."""
    hook = getattr(sys, "excepthook", sys.__excepthook__)
    traceback = error.__traceback__ and error.__traceback__.tb_next

    def excepthook(
        kind: "type[BaseException]", error: BaseException, _: "TracebackType | None"
    ) -> None:
        sys.excepthook = hook
        sys.last_traceback = error.__traceback__ = traceback
        try:
            hook(kind, error, traceback)
        except SystemExit:
            raise
        except BaseException as failure:
            failure.__traceback__ = failure.__traceback__ and failure.__traceback__.tb_next
            print("Error in sys.excepthook:", file=sys.stderr)
            sys.__excepthook__(type(failure), failure, failure.__traceback__)
            print("\nOriginal exception was:", file=sys.stderr)
            sys.__excepthook__(kind, error, traceback)
        if main["__spec__"] is None:
            for name in FORGOTTEN:
                main.pop(name, None)

    sys.excepthook = excepthook


if __name__ == "__main__":
    # Python 3.13 and later import it for -c, and keep the text of this file there as "<string>"
    sys.modules.pop("linecache", None)
    env = dict(os.environ)
    if not SAFE_PATH:
        del sys.path[0]
    # kept to the end: no collection finds the names of this file, which its functions refer to
    loaded = preload(sys.argv[1:])
    # of a thousand names: takes longer than the rest of the search
    roots = {"runpy", *(name.partition(".")[0] for name in loaded)}
    argv = wait()
    try:
        path, folder, code = find_program(argv, loaded, roots)
    except Exception:
        execute(argv, env)
    main = become(argv, path, folder)
    try:
        if code:
            exec(code, main)  # noqa: S102
        else:
            import runpy

            runpy._run_module_as_main(argv[2])  # type: ignore[attr-defined]
    except SystemExit:
        raise
    except BaseException as error:
        hide(error, main)
        raise
    else:
        # calls no function of this file, which a trace function of the program would see
        for name in FORGOTTEN if code else ():
            main.pop(name, None)
    finally:
        # as at the end of a script, and only of a script
        for name in ("stderr", "stdout") if code else ():
            try:  # noqa: SIM105 (contextlib is not loaded)
                getattr(sys, name).flush()
            except Exception:  # noqa: S110
                pass
        # nothing is to outlive the program because of this file
        del main
