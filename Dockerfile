# The server itself in a container; compose.yaml runs it. Its base, codapi/base, is made by `make images`.
ARG FROM=codapi/base

FROM ${FROM} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && python3 -m venv /opt/venv
WORKDIR /src
COPY constraints.txt setup.cfg setup.py pyproject.toml README.md ./
COPY codapi_flask codapi_flask
RUN CODAPI_MACHINES=$(uname -m) /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM ${FROM}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /codapi
COPY gunicorn.conf.py .
COPY configs configs
# Any user may run it, whatever umask made the checkout.
RUN chmod -R a+rX .
USER 2000:2000
EXPOSE 1313
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 1313); c.request('GET', '/v1/health'); exit(c.getresponse().status != 200)"]
CMD ["gunicorn", "--bind", "0.0.0.0:1313"]
