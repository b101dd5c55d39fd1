"""The keeper process: boxes that are started before a request needs them, and its housekeeping.

Comes in: a worker's wish for a box. Goes out: a warm `Box`, or none.
"""
