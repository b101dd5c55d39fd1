"""How gunicorn serves codapi_flask: `gunicorn` in this directory needs no argument."""

from codapi_flask.server.gunicorn import settings

# a call, not an import of names: gunicorn reads this file again at SIGHUP
globals().update(settings())
