"""Text from a model: sampling, generation token by token, and text that is streamed whole."""
