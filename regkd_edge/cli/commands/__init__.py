"""One short module per command, without logic of its own: options, a call of a stage or of the library, the table."""
