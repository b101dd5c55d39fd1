"""Measures codapi_flask, each figure against a reference of the same run."""
