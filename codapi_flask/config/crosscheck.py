"""Checks of built objects: their names, and whether they fit together.

Each check yields key and text of every error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from codapi_flask.config.model import ARGS, BoxSpec, Command, Preload, Step
from codapi_flask.config.names import is_name
from codapi_flask.config.problems import join

Found = Iterator[tuple[str, str]]

ALLOWED = "printable characters but blanks and / : = \\ ' \""

PYTHON = re.compile(r"(?:.*/)?python[\d.]*")

SHELL = re.compile(r"(?:.*/)?(?:r?ba|da|a|z|k|mk|ya|fi|c|tc)?sh[\d.-]*")
SHELL_LINE = re.compile(r"[-+]\w*c\w*|--command(?:=.*)?")
"""A shell's option behind which it reads a line; bash takes `+c` for `-c`."""
SHELL_WORD = re.compile(r"[-+]\w*[oO]|--(?:rcfile|init-file)")
"""A shell's option with a word of its own."""
HANDS_ON = re.compile(r"(?:.*/)?(?:su|runuser)")
"""A program that hands all its arguments on to a shell."""

NO_SHELL = (
    f"{ARGS!r} can get into a shell's line or options: run the program itself, or a script, "
    f'like ["sh", "main.sh", "{ARGS}"]'
)


def check_name(name: str) -> Found:
    """Check the name of a sandbox or a command."""
    if not is_name(name):
        yield "", f"{name!r} is no name: use {ALLOWED}"


def check_box_name(name: str) -> Found:
    """Check the name of a box."""
    if not all(map(is_name, name.split(":", 1))):
        yield "", f"{name!r} is no box name: use NAME or NAME:VERSION of {ALLOWED}"


def check_box(box: BoxSpec) -> Found:
    """Check whether the values of a box fit together, once the defaults are merged into it."""
    if not box.image:
        yield "image", "no image is given"
    if box.uses > 1 and not box.keeps_nothing:
        yield "uses", "only a box that is not writable and mounted read-only (:ro) can be reused"
    if box.preload and (box.preload.python is None) == (not box.preload.command):
        yield "preload", "must have either python or command"
    if box.preload and not box.may_have_init:
        yield "preload", "needs init, which this box cannot have: remove one of them"
    if box.service:
        for key in ("warm", "preload"):
            if getattr(box, key):
                yield key, "a service is one container, which runs already: remove it"
        if box.uses > 1:
            yield "uses", "a service runs until it ends: remove it"
    elif box.command or box.user:
        key = "command" if box.command else "user"
        yield key, 'is for services: set "service": true, or put it into the step'
    if box.preload and any(limit.startswith("cpu=") for limit in box.ulimit):
        # it limits the process, whose imports took processor time before the run
        yield "preload", "cannot be used with the ulimit cpu: remove one of them"


def check_stock(size: int | None, boxes: Mapping[str, BoxSpec]) -> Found:
    """Check that the stock has room for all that is to be kept warm."""
    warm = sum(box.warm for box in boxes.values())
    if size is not None and warm > size:
        yield "stock_size", f"must be at least {warm}, the sum of the boxes' warm, not {size}"


def check_preload(box: BoxSpec, steps: Sequence[Step]) -> Found:
    """Check that what waits in a box can become the program of one of the steps that run in it."""
    if box.preload and steps and not preload_for(box, steps):
        program = "a program" if box.preload.python is None else "python"
        user = f" as {box.preload.user}" if box.preload.user else ""
        yield "preload", f"no step runs {program}{user} in this box: remove it, or correct it"


def preload_for(box: BoxSpec, steps: Iterable[Step]) -> Preload | None:
    """Return what waits in a box, with the program and user of the first step that it can become.

    It is `None` if there is no such step.
    """
    if not (preload := box.preload):
        return None
    for step in steps:
        program = step.command[:1]
        is_right = preload.python is None or any(map(PYTHON.fullmatch, program))
        if is_right and preload.user in ("", step.user):
            return replace(preload, command=preload.command or program, user=step.user)
    return None


def check_engine(command: Command) -> Found:
    """Check that a command's engine has what it needs."""
    if command.engine == "docker" and not command.steps:
        yield "steps", "a docker command needs at least one step"


def check_steps(command: Command, boxes: Mapping[str, BoxSpec], has_all_boxes: bool) -> Found:
    """Check each step of a command; without `has_all_boxes`, files with some could not be read."""
    steps = [(f"steps[{i}]", step) for i, step in enumerate(command.steps)]
    others = [("before", command.before), ("after", command.after)]
    for key, step in [others[0], *steps, others[1]]:
        if step:
            found = _check_step(step, boxes, has_all_boxes)
            yield from ((join(key, name), text) for name, text in found)
            if text := _misplaced_args(step, key in ("before", "after")):
                yield join(key, "command"), text
    yield from _check_own_box(command)


def check_cache(command: Command, boxes: Mapping[str, BoxSpec]) -> Found:
    """Check that answers which are to be remembered depend on nothing but the request."""
    if command.cache and (why := next(_influences(command, boxes), "")):
        yield "cache", f"answers that depend on others cannot be remembered, and {why}: remove it"


def _influences(command: Command, boxes: Mapping[str, BoxSpec]) -> Iterator[str]:
    """Yield what an answer depends on besides the request and the images."""
    if command.engine == "http":
        yield "the http engine asks another server"
        return
    for step in command.all_steps():
        if step.action != "run":
            yield f"a step has the action {step.action!r}"
        elif step.detach:
            yield "a step has detach"
        elif any(":name" in text for text in step.command):
            yield "a step's command has ':name'"
        else:
            connected = (box for box in candidates(step, boxes) if box.network != "none")
            yield from (f"box {box.name!r} has the network {box.network!r}" for box in connected)


def _check_step(step: Step, boxes: Mapping[str, BoxSpec], has_all_boxes: bool) -> Found:
    found = candidates(step, boxes)
    if not step.box:
        yield "box", "no box is given"
    elif step.action == "run" and not found and has_all_boxes:
        yield "box", f"no box named {step.box_name('')!r}"
    elif step.action == "run" and step.runs_as_root and any(box.uses > 1 for box in found):
        yield "user", "root cannot run in a box of more than one uses"
    elif step.action == "exec" and not step.command:
        yield "command", "an exec step needs a command"
    elif step.action != "exec" and any(box.service for box in found):
        yield "action", f"must be exec: box {step.box!r} is a service"
    if step.outputs:
        yield from _check_outputs(step, found)


def _check_outputs(step: Step, boxes: Iterable[BoxSpec]) -> Found:
    """Check that the program of a step can write files and has ended when they are read."""
    if step.action != "run" or step.detach:
        yield "outputs", "only a run step that is not detached can have outputs: remove them"
    elif names := [box.name for box in boxes if not box.may_write_files]:
        todo = "set its volume to '%s:/sandbox' (without ro)"
        yield "outputs", f"in {', '.join(names)} the work directory is read-only: {todo}"


def _misplaced_args(step: Step, is_around: bool) -> str:
    """Return why a step's command must not have `:args` where it has, empty if it may."""
    if not step.takes_args:
        return ""
    if is_around or step.action == "stop":
        where = "before and after" if is_around else "a stop step"
        return f"{where} cannot have {ARGS!r}: a request's args are for steps that run or exec"
    before = step.command[: step.command.index(ARGS)]
    if not before:
        return f"{ARGS!r} must not be the program: put that in front of it"
    if step.command.count(ARGS) > 1:
        return f"{ARGS!r} must be there only once"
    return NO_SHELL if _can_reach_shell(before) else ""


def _can_reach_shell(before: Sequence[str]) -> bool:
    """Whether what follows these words may be a line that a shell reads, or its options."""
    # `env -S` splits its argument
    words = " ".join(before).split()
    if any(map(HANDS_ON.fullmatch, words)):
        return True
    shells = [place for place, word in enumerate(words) if SHELL.fullmatch(word)]
    if not shells:
        return False
    script = words[shells[-1] + 1 :]
    while script and script[0] != "--" and script[0].startswith(("-", "+")):
        del script[: 2 if SHELL_WORD.fullmatch(script[0]) else 1]
    return not script or any(map(SHELL_LINE.fullmatch, words[shells[0] + 1 :]))


def candidates(step: Step, boxes: Mapping[str, BoxSpec]) -> list[BoxSpec]:
    """Return the boxes in which some request can run the step."""
    name = step.box_name("")
    found = [boxes[name]] if name in boxes else []
    if not step.version:
        # no request gets a box by the version `latest`
        prefix, latest = f"{name}:", f"{name}:latest"
        found += (box for key, box in boxes.items() if key.startswith(prefix) and key != latest)
    return found


def _check_own_box(command: Command) -> Found:
    """Check that what runs in the box of this very execution comes after it was detached."""
    is_there = False
    for step in command.all_steps():
        if step.action == "run":
            is_there |= step.detach
        elif step.box == ":name" and not is_there:
            why = "no step before it detaches a box: there is nothing of this name"
            yield "", f"the step '{step.action}' in ':name': {why}"
