"""The results of snippets, for people and for programs.

Comes in: results. Goes out: lines of text, JSON, or JUnit's XML.
"""
