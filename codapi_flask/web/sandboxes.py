"""The route `GET /v1/sandboxes`: what a client may use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hashlib import sha256

from flask import Blueprint, Response, request

from codapi_flask.config.model import Config
from codapi_flask.config.offers import offered


def blueprint(config: Config, find_images: Callable[[], Mapping[str, str]]) -> Blueprint:
    """Make the route; `find_images` returns ids by name, of none while they are unknown."""
    routes = Blueprint("sandboxes", __name__)

    @routes.get("/v1/sandboxes")
    def show() -> Response:
        """Show the sandboxes, unless the client has them already (RFC 9110, section 13.1.2)."""
        found = offered(config, find_images())
        body = json.dumps({"sandboxes": [asdict(each) for each in found]})
        tag = sha256(body.encode()).hexdigest()[:32]
        if request.if_none_match.contains_weak(tag):
            response = Response(status=304)
        else:
            response = Response(body, mimetype="application/json")
        response.set_etag(tag)
        # ask each time: a reload changes it, and so does an image
        response.headers["Cache-Control"] = "no-cache"
        return response

    return routes
