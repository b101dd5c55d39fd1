"""How fast codapi_flask is, each figure against a reference of the same run."""
