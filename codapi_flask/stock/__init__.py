"""The keeper process: starts boxes before a request needs them, sweeps, watches for new images.

Comes in: a worker's request for a box. Goes out: a warm `Box`, or none.
"""
