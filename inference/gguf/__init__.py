"""A model as a GGUF file: its tensors, its vocabulary, what it says of itself, what Ollama reads."""
