"""The web process: reads the config, starts everything, and configures gunicorn.

Comes in: the environment and the config files. Goes out: the WSGI application
`codapi_flask.server.process:wsgi()` and gunicorn's settings.
"""
