"""Files on disk, and what they mean. Pure: bytes in, records out."""
