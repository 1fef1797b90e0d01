"""Prompts in, scores with intervals out: base and tuned side by side."""
