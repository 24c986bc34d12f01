"""The command line: every stage function as a command, recipes, and what is installed."""
