"""The report on preference pairs: what they teach, what they cost, what was dropped and why. No torch in this package."""
