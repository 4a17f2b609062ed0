"""Layouts, constants and signatures of native code, compiled against the systems' own public headers."""
