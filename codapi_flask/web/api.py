"""The HTTP API: `POST /v1/exec`, errors in its form, tokens and CORS for every route."""

from __future__ import annotations

import json
import logging
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException, NotFound

from codapi_flask.config.model import Config
from codapi_flask.errors import Busy, RequestError
from codapi_flask.httpd.socket import connection
from codapi_flask.jobs.admission import Admission
from codapi_flask.jobs.executor import Executor, events
from codapi_flask.jobs.request import Request
from codapi_flask.models import INTERNAL_ERROR, STARTING, Execution
from codapi_flask.web import answers, live
from codapi_flask.web.access import Access
from codapi_flask.web.metrics import Metrics

OPEN = {"ops.health", "ops.describe", "ops.show_schema"}
"""The routes that need no token."""

log = logging.getLogger("codapi")


def blueprint(
    admission: Admission, executor: Executor, metrics: Metrics, access: Access, config: Config
) -> Blueprint:
    """Make the API's routes."""
    routes = Blueprint("api", __name__, url_prefix="/v1")

    @routes.post("/exec")
    def exec() -> Response:
        asked = Request.parse(_read_document(config.max_body))
        job = admission.admit(asked, _wants_events())

        def end(execution: Execution) -> dict[str, Any]:
            metrics.count(job, execution)
            _log(execution)
            return execution.answer(asked.details, asked.outputs)

        run, client = executor.start(job), connection(request.environ)
        client.on_departure(run.cancel)
        happening = events(run, job)
        try:
            first = next(happening)
        except Busy:
            metrics.count_refused()
            raise answers.busy(job.id) from None
        if isinstance(first, Execution) and (first.fault or not job.is_live):
            # the run's end
            next(happening, None)
            status = answers.FAULTS.get(first.stderr, 200) if first.fault else 200
            return _json(end(first), status)
        stream = live.stream(run, happening, first, client, config.timeouts.heartbeat, end)
        return Response(stream, headers=live.HEADERS, mimetype=live.MEDIA_TYPE)

    _answer_errors(routes)
    _guard(routes, access)
    return routes


def _answer_errors(routes: Blueprint) -> None:
    """Have all errors of the application answered in the form of an execution."""

    @routes.app_errorhandler(RequestError)
    def refuse(error: RequestError) -> Response:
        status = answers.STATUSES[error.kind]
        log.debug("id=%s refused with %d", error.id, status)
        return _answer(answers.refusal(error), status)

    @routes.app_errorhandler(HTTPException)
    def refuse_route(error: HTTPException) -> Response:
        method = f"unsupported method: {request.method}"
        text = method if error.code == 405 else (error.name or "error").lower()
        response = _answer(Execution("-", stderr=text), error.code or 500)
        # what the error says beyond its page: Allow, for one
        for name, value in error.get_headers():
            if name != "Content-Type":
                response.headers[name] = value
        return response

    @routes.app_errorhandler(Exception)
    def fail(error: Exception) -> Response:
        log.error("id=- internal error", exc_info=error)
        return _answer(Execution("-", stderr=INTERNAL_ERROR), 500)


def _guard(routes: Blueprint, access: Access) -> None:
    """Have every request checked for a token, and every answer given its CORS headers."""

    @routes.before_app_request
    def authorize() -> None:
        # Werkzeug takes //metrics for /metrics, which a proxy may hide
        if request.environ["PATH_INFO"].startswith("//"):
            raise NotFound
        is_open = request.method == "OPTIONS" or request.endpoint in OPEN
        if not is_open and not access.is_granted(request.headers.get("Authorization", "")):
            raise RequestError("unauthorized", "unauthorized: send 'Authorization: Bearer TOKEN'")

    @routes.after_app_request
    def allow_origins(response: Response) -> Response:
        response.headers.update(access.cors(request.headers.get("Origin", "")))
        return response


def _read_document(max_body: int) -> object:
    if not request.is_json:
        raise RequestError("unsupported", "unsupported media type: use application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RequestError("unsupported", "unsupported content encoding: send the JSON as it is")
    # the server's own stream: it knows where the body ends, chunked or not
    stream = request.environ["wsgi.input"]
    length = request.content_length
    body = stream.read(max_body + 1) if length is None or length <= max_body else b""
    if len(body) > max_body or (length or 0) > max_body:
        raise answers.too_large(max_body)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError("malformed", "the request is not valid JSON") from None


def _wants_events() -> bool:
    known = ["application/json", live.MEDIA_TYPE]
    return request.accept_mimetypes.best_match(known) == live.MEDIA_TYPE


def _answer(execution: Execution, status: int) -> Response:
    return _json(execution.answer(), status)


def _json(answer: dict[str, Any], status: int) -> Response:
    headers = answers.HEADERS.get(status)
    return Response(json.dumps(answer), status, headers, mimetype="application/json")


def _log(execution: Execution) -> None:
    outcome = "fault" if execution.fault else execution.reason
    line = f"id={execution.id} ok={str(execution.ok).lower()} outcome={outcome}"
    line += f" ms={execution.duration} box={execution.box}"
    if execution.is_cached:
        line += " cached=true"
    if execution.stderr == STARTING:
        # the service's own log lines tell why
        log.info("%s cause=%s", line, execution.fault)
    elif execution.fault:
        log.error("%s cause=%s", line, execution.fault)
    else:
        log.info("%s", line)
