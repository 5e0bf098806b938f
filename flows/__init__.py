"""The flows: they call the stages in order and compute nothing themselves; and the command line."""
