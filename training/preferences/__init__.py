"""Preference pairs: read from any form, checked, cleaned, mixed, related to one another. No torch in this folder.

What a caller needs is here; a new file form belongs into files.py, a new row form into forms.py, a new reason to drop a row
into loading.py, and what it is compared with into overlap.py, duplicates.py or twins.py.
"""

from training.preferences.loading import Preferences, load_preferences
from training.preferences.pair import Pair, fingerprint, language_of

__all__ = ["Pair", "Preferences", "fingerprint", "language_of", "load_preferences"]
