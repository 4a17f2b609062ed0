"""Address spaces to files, and files to what they mean. Knows no operating system: bytes and records in and out."""
