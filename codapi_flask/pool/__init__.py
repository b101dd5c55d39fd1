"""The worker processes, and with their number the bound on what runs at once.

Comes in: a `Job`. Goes out: its `Execution`, whatever happens to the worker.
"""
