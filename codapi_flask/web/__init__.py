"""The HTTP API as a Flask application, with what its transport asks of it.

Comes in: complete HTTP requests. Goes out: answers; jobs go to an `Executor`.

A client that goes away cancels its job.
"""
