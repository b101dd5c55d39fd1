"""The config: its files, checks and defaults, and a look at what is unsafe or missing.

Comes in: the files in Codapi's layouts. Goes out: a frozen `Config`, or every problem at once with
its file and key. A key is a field of the dataclasses in `config.model`: its type (`config.values`)
is its check, and its default and its line of documentation stand beside it; the JSON Schemas are
made from that.
"""
