"""Robustness: attacks by someone who knows the model, with and without access to its weights."""
