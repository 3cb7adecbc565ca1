"""The command line, the settings file, and the order in which the other packages run."""
