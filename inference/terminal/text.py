"""Text that can be shown on a terminal without obeying it, and text that can be encoded."""

# Everything that would move the cursor, recolour, retitle, beep, or turn the order of what was written:
# C0 but for newline and tab, DEL, C1, the separators that some terminals take for a newline, and Unicode's bidi controls.
BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
SHOWN = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}  # Unicode's control pictures
SHOWN[0x7F] = "\N{SYMBOL FOR DELETE}"
SHOWN |= {code: f"<U+{code:04X}>" for code in (*range(0x80, 0xA0), 0x2028, 0x2029, *BIDI)}
SHOWN |= dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}")  # lone surrogates; they have no UTF-8

QUOTES = '"""'


def harmless(text: str) -> str:
    """Text with every control character but newline and tab made visible; any piece of a text gives that piece of the whole's."""
    return text.translate(SHOWN)


def one_line(text: str) -> str:
    """`harmless`, for a name or a path inside a sentence."""
    return harmless(text.replace("\n", "\N{SYMBOL FOR LINE FEED}"))


def well_formed(text: str) -> str:
    """Text without lone surrogates, which bytes that are no UTF-8 become and which no tokenizer takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def open_quotes(text: str) -> bool:
    """Whether a message began with triple quotes that are not closed yet."""
    text = text.strip()
    return text.startswith(QUOTES) and (len(text) < 2 * len(QUOTES) or not text.endswith(QUOTES))


def unquoted(text: str) -> str:
    """A message stripped; between triple quotes exactly as it was typed, but for the line ends beside the quotes."""
    text = text.strip()
    if len(text) >= 2 * len(QUOTES) and text.startswith(QUOTES) and text.endswith(QUOTES):
        return text.removeprefix(QUOTES).removesuffix(QUOTES).strip("\n")
    return text
