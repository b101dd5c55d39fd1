"""The HTTP transport: a gunicorn worker in which no client can hold a thread.

Comes in: bytes of any client. Goes out: complete requests, to any WSGI application that has an
`Edge`. The room knows no domain; only it overrides gunicorn's methods.
"""
