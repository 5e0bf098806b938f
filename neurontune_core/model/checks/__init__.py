"""What is wrong with a model, told before anything is computed."""
