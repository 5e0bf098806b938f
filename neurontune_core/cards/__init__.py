"""Cards of neurons: what the strongest ones write, and which prompts excite them."""
