"""Every foreign signature of Windows, one file per library or mechanism.

Structures, constants and functions bear their names in the public headers, fields included: the tests find them all by
name and assert their layout against those headers, so nothing here can be wrong in silence. Types have fixed widths
(`types`), so that every file imports, and every layout is checked, on every system.
"""
