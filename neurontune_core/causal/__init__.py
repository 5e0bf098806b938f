"""Cause and effect: what the model does when sets of neurons are silenced, amplified or patched."""
