"""The servers that run on this machine, and the environment and ending of the process."""
