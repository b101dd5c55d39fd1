"""The config: its files, checks and defaults, and a look at what is unsafe about it.

Comes in: the files in Codapi's layouts. Goes out: a frozen `Config`, or every problem at once with
its file and key.
"""
