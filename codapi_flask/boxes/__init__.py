"""Boxes with init: their leases, their quotas, their removal.

Comes in: a `BoxSpec` and a `Program`. Goes out: an `Outcome`; nothing of the program is left.
"""
