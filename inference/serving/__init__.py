"""Servers of other people: which one fits a model, its command line, and watching over it while it runs."""
