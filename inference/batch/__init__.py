"""What inference.generate is made of: the prompts, their lengths, the answers kept so far, the progress."""
