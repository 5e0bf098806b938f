"""A tuned model as files that others can use: an ordinary model folder, or only the factors."""
