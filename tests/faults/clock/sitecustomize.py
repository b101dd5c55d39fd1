"""Makes the clock of a server's processes jump: Python imports this when it is in PYTHONPATH."""

import os
import time

_time, _file = time.time, os.environ["CLOCK_OFFSET"]


def _jumped() -> float:
    with open(_file) as offset:
        return _time() + float(offset.read())


time.time = _jumped
time.time_ns = lambda: int(_jumped() * 1e9)
