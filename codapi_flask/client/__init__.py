"""Executes requests for a program on this side: on a server, or in this process.

Comes in: a request as the API takes it. Goes out: the answer as the API gives it.
"""
