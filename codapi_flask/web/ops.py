"""Routes for operators and probes: health, the API's description, metrics."""

from __future__ import annotations

import json
from collections.abc import Callable

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from werkzeug.exceptions import NotFound

from codapi_flask.config.schema import json_schemas
from codapi_flask.web import openapi
from codapi_flask.web.metrics import Metrics


def blueprint(metrics: Metrics, find_problem: Callable[[], str]) -> Blueprint:
    """Make the routes; none waits for a worker or for Docker.

    `find_problem` returns why executions cannot work, empty if they can.
    """
    routes = Blueprint("ops", __name__)

    @routes.get("/v1/health")
    def health() -> Response:
        """Report that the server answers; the browser widget asks before every first run.

        With `?ready=1`, report whether executions work: 503 and the reason if not.
        """
        problem = find_problem() if request.args.get("ready") == "1" else ""
        body = {"status": problem or "ok"}
        return Response(json.dumps(body), 503 if problem else 200, mimetype="application/json")

    @routes.get("/v1/openapi.json")
    def describe() -> Response:
        """Describe the API (OpenAPI 3.1)."""
        return Response(openapi.encoded(), mimetype="application/json")

    @routes.get("/v1/schema/<kind>.json")
    def show_schema(kind: str) -> Response:
        """Show the JSON Schema of a kind of config file."""
        schemas = json_schemas()
        if kind not in schemas:
            raise NotFound
        return Response(json.dumps(schemas[kind]), mimetype="application/schema+json")

    @routes.get("/metrics")
    def show_metrics() -> Response:
        """Show the metrics, in the text format of Prometheus."""
        return Response(generate_latest(metrics.registry), content_type=CONTENT_TYPE_LATEST)

    return routes
