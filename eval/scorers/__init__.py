"""Pure, versioned functions: a response in, a score and its reason out."""
