"""A Codapi server in Python: runs code snippets in isolated Docker containers over HTTP."""
