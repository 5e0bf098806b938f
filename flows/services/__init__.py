"""The servers of this machine, and the process they run in."""
