"""A GGUF file answered by llama.cpp, in a process of its own."""
