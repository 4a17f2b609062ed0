"""What Windows answers in bytes, parsed. Pure, and tested on every system; empty until there is something to parse."""
