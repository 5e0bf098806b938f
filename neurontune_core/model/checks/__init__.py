"""Checks of a model, made before anything is computed."""
