"""How gunicorn serves codapi_flask, for `codapi serve`; `gunicorn.conf.py` does the same."""

from codapi_flask.server.gunicorn import settings

# a call, not an import of names: gunicorn reads this file again at SIGHUP
globals().update(settings())
