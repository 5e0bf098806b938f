"""Factors that fit the margins of all prompts met so far: measure, solve, move."""
