"""Boxes with init, the directories they live for, and what bounds and removes them.

Comes in: a `BoxSpec` and a `Program`. Goes out: an `Outcome`; nothing of the program is left.
"""
