"""A real Windows CPython on Wine: `install` makes it, `session` runs it, `suite` (make test) and `__main__` use it."""
