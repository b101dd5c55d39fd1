"""The Docker daemon: the only room that imports `docker`.

Comes in: a `BoxSpec` and paths on the host. Goes out: containers, images and streams; every error
of docker-py becomes a `ServerFault` or `NotRunning`.
"""
