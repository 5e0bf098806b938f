"""Other ways to make a chat model refuse, measured beside NeuronTune on the same data with the same budget."""
