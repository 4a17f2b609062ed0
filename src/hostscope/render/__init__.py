"""Records -> text. Pure: nothing here asks the host or the terminal anything."""
