"""From a client's request to a job, and what executes one.

Comes in: a decoded JSON document. Goes out: a `Job` in which every name is one of the config's.
"""
