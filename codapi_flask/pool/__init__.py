"""The worker processes, whose number bounds what runs at once.

Comes in: a `Job`. Goes out: its `Execution`, whatever happens to the worker.
"""
