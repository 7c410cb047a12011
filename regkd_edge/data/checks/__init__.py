"""What is looked for in a table before it is believed, one kind of finding per file,
each with the option that helps."""
