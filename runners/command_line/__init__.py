"""The command line: its commands, their options and help, and what it says where."""
