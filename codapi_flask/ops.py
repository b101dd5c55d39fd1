"""What operators and probes ask for."""

from __future__ import annotations

from flask import Blueprint, Response


def blueprint() -> Blueprint:
    """Make the routes."""
    routes = Blueprint("ops", __name__, url_prefix="/v1")

    @routes.get("/health")
    def health() -> Response:
        """Say that the server answers; the browser widget asks before every first run."""
        return Response('{"status": "ok"}', mimetype="application/json")

    return routes
