"""What operators and probes ask for."""

from __future__ import annotations

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from codapi_flask.metrics import Metrics


def blueprint(metrics: Metrics) -> Blueprint:
    """Make the routes; none touches the pool or Docker."""
    routes = Blueprint("ops", __name__)

    @routes.get("/v1/health")
    def health() -> Response:
        """Say that the server answers; the browser widget asks before every first run."""
        return Response('{"status": "ok"}', mimetype="application/json")

    @routes.get("/metrics")
    def show_metrics() -> Response:
        """Show the metrics, in the text format of Prometheus."""
        return Response(generate_latest(metrics.registry), content_type=CONTENT_TYPE_LATEST)

    return routes
