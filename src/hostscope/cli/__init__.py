"""The command line: each command parses, asks a session, and renders."""
