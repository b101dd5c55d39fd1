"""Replaces all files and directories here by links to DIRECTORY on the host, again and again."""

import os
import sys
from contextlib import suppress

_, directory, count = sys.argv
for name in os.listdir("."):
    target = directory if os.path.isdir(name) else f"{directory}/file"
    # they are not its own, but lie in a directory that it may write to
    os.rename(name, f"{name}.moved")
    os.symlink(target, name)

os.makedirs("tree/a/b")
os.symlink(directory, "tree/a/b/c")
os.symlink(directory, "link")
for mount in ("/etc/hosts", "/etc/passwd", "/.codapi"):
    with suppress(OSError):
        os.link(mount, f"hard{os.path.basename(mount)}")
for _ in range(int(count)):
    os.rename("tree", "other")
    os.rename("link", "tree")
    os.rename("tree", "link")
    os.rename("other", "tree")
