"""Fills the directory DIRECTORY in the way HOW, until something ends it."""

import itertools
import os
import sys
from contextlib import suppress

MIB = 1 << 20


def create(name):
    """Return a new file."""
    return os.open(name, os.O_CREAT | os.O_WRONLY)


def one_file():
    """Write one file, beyond any limit of a file's size."""
    file = create("file")
    while True:
        os.write(file, bytes(MIB))


def a_file_with_a_hole():
    """Make one that only seems to be large."""
    os.ftruncate(create("file"), 1 << 40)
    one_file()


def mapped_files():
    """Write files without any call."""
    import mmap

    for number in itertools.count():
        file = os.open(str(number), os.O_CREAT | os.O_RDWR)
        os.ftruncate(file, MIB)
        mmap.mmap(file, MIB)[:] = bytes(MIB)
        os.close(file)


def files():
    """Write many files."""
    for number in itertools.count():
        file = create(str(number))
        os.write(file, bytes(MIB))
        os.close(file)


def reserved_files():
    """Reserve room for files."""
    for number in itertools.count():
        file = create(str(number))
        os.posix_fallocate(file, 0, MIB)
        os.close(file)


def empty_files():
    """Make files without content."""
    for number in itertools.count():
        os.close(create(str(number)))


def hidden_files():
    """Write files where others may not look."""
    os.mkdir("hidden")
    os.chdir("hidden")
    os.chmod(".", 0o300)
    files()


def directories():
    """Make directories."""
    for number in itertools.count():
        os.mkdir(str(number))


def a_deep_tree():
    """Make directories in directories."""
    while True:
        os.mkdir("d")
        os.chdir("d")


def links():
    """Make links to one file, of either kind."""
    create("file")
    for number in itertools.count():
        os.link("file", f"hard{number}")
        os.symlink("x" * 255, f"soft{number}")


def attributes():
    """Hide text in files' attributes."""
    for number in itertools.count():
        os.close(create(str(number)))
        with suppress(OSError):
            os.setxattr(str(number), "user.x", bytes(3000))


def files_that_come_and_go():
    """Write files while others vanish."""
    if os.fork():
        files()
    while True:
        os.close(create("gone"))
        os.unlink("gone")


def in_silence():
    """Write files after closing the output."""
    for number in range(3):
        os.close(number)
    files()


_, directory, how = sys.argv
os.chdir(directory)
globals()[how]()
