"""The demo: a gradio page over one model, or two side by side."""
