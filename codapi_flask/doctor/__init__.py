"""Checks of a host: what it has for sandboxes, and whether boxes on it withstand hostile programs.

Comes in: a root with configs. Goes out: findings, each as it is found.
"""
