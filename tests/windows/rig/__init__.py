"""A real Windows CPython on Wine: made by `install`, run by `session`, used by `suite` (make test) and `__main__` (by hand)."""
