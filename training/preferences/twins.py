"""shim"""


class Twins:
    def add(self, text, language):
        pass

    def find(self, text_of):
        return []
