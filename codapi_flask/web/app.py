"""The WSGI application: Flask with the API and the operators' routes, and its edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Flask

from codapi_flask.config.model import Config
from codapi_flask.jobs.admission import Admission
from codapi_flask.jobs.executor import Executor
from codapi_flask.web import api, ops, sandboxes
from codapi_flask.web.access import Access
from codapi_flask.web.edge import WebEdge
from codapi_flask.web.metrics import Metrics
from codapi_flask.web.shedding import Shedding


class App(Flask):
    """The application of a config; jobs go to the executor.

    `find_images` returns the ids of images by name, empty for a missing one, of none while they
    are unknown.
    """

    def __init__(
        self,
        config: Config,
        executor: Executor,
        metrics: Metrics,
        find_images: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        super().__init__(__name__, static_folder=None)
        # a redirect would be HTML
        self.url_map.merge_slashes = False
        admission, access = Admission(config), Access(config.tokens, config.origins)
        routes = api.blueprint(admission, executor, metrics, access, config)
        self.register_blueprint(routes)
        self.register_blueprint(ops.blueprint(metrics, executor.problem))
        self.register_blueprint(sandboxes.blueprint(config, find_images))
        shedding = Shedding(admission, executor, metrics, access)
        self.edge = WebEdge(config, shedding, access, executor)
