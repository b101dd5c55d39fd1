"""Prints which files of the kernel it can open for writing, and which devices there are."""

import os
import stat

HARMLESS = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)}
"""Numbers of null, zero, full, random, urandom, tty and ptmx."""


def is_dangerous(path):
    """Tell whether it could change something by writing to a file."""
    try:
        info = os.stat(path)
        if stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            return (os.major(info.st_rdev), os.minor(info.st_rdev)) not in HARMLESS
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    own = {os.stat(f"/proc/self/fd/{number}").st_ino for number in range(3)}
    os.close(handle)
    return info.st_ino not in own


for top in ("/proc", "/sys", "/dev"):
    for directory, directories, names in os.walk(top):
        if directory == "/proc":
            # not the box's own processes
            directories[:] = [name for name in directories if name.isalpha() and "self" not in name]
        for name in names:
            path = os.path.join(directory, name)
            if is_dangerous(path):
                print(path)
