"""The command line: one file for each command; every command parses, calls the library and prints."""
