"""What a command of `neurontune` does."""
