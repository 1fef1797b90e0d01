"""Preference pairs in, ORPO weights and training.json out."""
