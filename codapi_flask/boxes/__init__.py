"""Boxes with init: their leases, their quotas, what they leave for the client, their removal.

Comes in: a `BoxSpec` and a `Program`. Goes out: an `Outcome`; nothing of the program is left.
"""
