"""Every foreign signature of macOS, one file per mechanism.

Structures, constants and functions bear their names in the public headers, fields included: the tests find them all by
name and assert their layout against those headers, so nothing here can be wrong in silence. Types have fixed widths, so
that every file imports, and every layout is checked, on every system.
"""
