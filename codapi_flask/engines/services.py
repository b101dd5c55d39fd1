"""The services that steps execute programs in, and what these leave running there."""

from __future__ import annotations

import secrets
from contextlib import suppress

from codapi_flask.boxes.lease import Lease
from codapi_flask.boxes.service import Bulletin
from codapi_flask.config.model import BoxSpec
from codapi_flask.daemon.container import Container
from codapi_flask.engines.context import WorkerContext
from codapi_flask.errors import NotReady, NotRunning, ServerFault

FIRST_GROUP = 1 << 30
"""The first of as many groups that no image has: each execution gets one of them."""


def ready_container(context: WorkerContext, box: BoxSpec) -> Container:
    """Return the container of a service that is ready.

    Raises:
        NoImage: its image is missing.
        NotReady: it is starting; if it is lazy, it starts now at the latest.
        ServerFault: the daemon is gone.
    """
    bulletin = Bulletin(context.instance, box.name)
    if id := bulletin.container:
        return context.daemon.find(id)
    bulletin.want()
    context.daemon.box_image(box)
    raise NotReady(box.name)


class Leftovers:
    """What an execution's programs leave running in containers that outlive it.

    The programs have a group of the execution's own, which no program can give up. A step whose
    user has an explicit group keeps that one, and its leftovers are not found. Neither are those
    where containers have user namespaces, in which other numbers stand for the groups.
    """

    def __init__(self, context: WorkerContext, lease: Lease) -> None:
        self._context, self._lease = context, lease
        self._group = FIRST_GROUP + secrets.randbelow(FIRST_GROUP >> 1)
        self._entered: dict[str, Container] = {}

    def marked(self, container: Container, user: str) -> str:
        """Return the user for a program in a container: with the execution's own group.

        The lease has a record of it, for a sweeper if this process dies.
        """
        if ":" in user or self._context.daemon.has_user_namespace:
            return user
        id = container.inspect().get("Id")
        if id and id not in self._entered:
            self._lease.enter(self._group, id)
            self._entered[id] = container
        return f"{user}:{self._group}"

    def __bool__(self) -> bool:
        """Whether programs may have left something."""
        return bool(self._entered)

    def kill(self) -> None:
        """Kill them.

        Raises:
            ServerFault: the daemon failed.
        """
        while self._entered:
            id, container = self._entered.popitem()
            with suppress(NotRunning):
                if self._has_left(container):
                    self._context.root_box.kill_group(self._group, id)

    def _has_left(self, container: Container) -> bool:
        try:
            return self._group in container.groups()
        except ServerFault:
            # the daemon needs a ps of its host; then the root box looks
            return True
