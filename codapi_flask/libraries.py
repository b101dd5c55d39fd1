"""Libraries whose inside the server uses: what of it, and in which releases."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TODO = "install the release that constraints.txt names"


@dataclass(frozen=True)
class Inside:
    """What is used of a library's inside, from release `at_least` to before `below`.

    `names` maps a class, `package.module:Class`, to the attributes that are used of it. With `()`
    after it, an object is made and looked at: for attributes that the class computes.
    """

    name: str
    at_least: int
    below: int
    names: Mapping[str, str]

    def problems(self) -> list[str]:
        """Return why the installed release cannot be used: nothing when it can."""
        # not what is on the disk: at a SIGHUP the release that was loaded stays in use
        module = importlib.import_module(self.name)
        # a library of Python has its version
        version = str(getattr(module, "__version__", platform.python_version()))
        if not self.at_least <= int(version.partition(".")[0]) < self.below:
            wanted = f">={self.at_least},<{self.below}"
            return [f"{self.name} {version} is installed, {self.name}{wanted} is needed: {TODO}"]
        return [f"{self.name} {version} has no {missing}: {TODO}" for missing in self._missing()]

    def _missing(self) -> Iterator[str]:
        for path, names in self.names.items():
            try:
                found = pkgutil.resolve_name(path.removesuffix("()"))
            except (ImportError, AttributeError):
                yield path
                continue
            owner = found() if path.endswith("()") else found
            for name in names.split():
                if not hasattr(owner, name) and not _is_used(owner, name):
                    yield f"{path}.{name}"


def _is_used(owner: Any, name: str) -> bool:
    """Whether a method of a class or of its bases names an attribute, one it sets itself."""
    functions = (each for base in getattr(owner, "__mro__", ()) for each in vars(base).values())
    return any(name in each.__code__.co_names for each in functions if inspect.isfunction(each))
