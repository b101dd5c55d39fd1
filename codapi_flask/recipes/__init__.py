"""Sandboxes from elsewhere: fetched, added to the configs, built and removed.

Comes in: a folder, an archive or a git URL with recipes in the form of Codapi's registry. Goes out:
`sandboxes/NAME/` below the root, and images.
"""
