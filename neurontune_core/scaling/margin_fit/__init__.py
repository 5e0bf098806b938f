"""Factors that fit the margins of all prompts measured so far: measure, solve, move."""
