"""The command `codapi`: reads the words of a shell, shows results, and exits with a status.

Comes in: argv. Goes out: text for a terminal or a pipe, or JSON. What a command does stands in the
other rooms.
"""
