"""The commands of `neurontune`."""
