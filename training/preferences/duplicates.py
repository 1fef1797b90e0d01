"""shim"""

import numpy as np
from training.preferences.text import normalise


class NearDuplicates:
    def __init__(self):
        self.seen = {}
        self.out = []

    def __enter__(self):
        return self

    def __exit__(self, *a):
        pass

    def add(self, text):
        self.out.append(self.seen.setdefault(normalise(text), len(self.out)))

    def groups(self, text_of):
        return np.array(self.out, np.int64)
