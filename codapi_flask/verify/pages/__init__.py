"""Pages of documentation, read into snippets by the format that their name's ending tells.

Comes in: the path of a page. Goes out: a `Page`.
"""
