"""Where the code of an answer is, and what its comments say. Text only: nothing is parsed here or run."""

import io
import re
import textwrap
import tokenize
from collections.abc import Iterator

from eval.scorers.characters import HAN

_FENCE = re.compile(r"```[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_NAMES = {"python": ("python", "py", "python3"), "cpp": ("cpp", "c++", "cxx", "cc", "c", "h", "hpp")}
_PYTHON_START = re.compile(
    r"(?:from\s+[\w.]+\s+import\b|import\s+\w|(?:async\s+)?def\s+\w+\s*\(|class\s+\w+\s*[:(]|@\w)"
)
_PYTHON_ON = re.compile(r"\s|#|[)\]}]|[A-Za-z_][\w.]*\s*(?:[([]|[-+*/]?=[^=])|(?:if|for|while|try|with|else|elif)\b.*:\s*$|(?:except|finally)\b|\"\"\"|'''")  # fmt: skip
_CPP_START = re.compile(r"\s*(?:#\s*include\b|using\s+namespace\b|template\s*<|(?:class|struct)\s+\w+|[A-Za-z_][\w:<>,&*\s]*[\s&*]\w+\s*\([^()]*\)\s*\{)")  # fmt: skip
_CPP_COMMENT = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|(//[^\n]*|/\*.*?\*/)", re.DOTALL)
_BETWEEN = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENCODING}


def code_blocks(text: str, language: str) -> list[str]:
    """The code blocks of an answer in "python" or "cpp": those that name the language, else those that name none.

    Without any fence: the lines that look like code, if some line begins like a definition or an import.
    """
    blocks = [(name.lower(), textwrap.dedent(body)) for name, body in _fenced(text)]
    for names in (_NAMES[language], ("",)):
        if chosen := [body for name, body in blocks if name in names and body.strip()]:
            return chosen
    if "```" in text:
        return []
    bare = _bare_python(text) if language == "python" else _bare_cpp(text)
    return [bare] if bare else []


def _fenced(text: str) -> Iterator[tuple[str, str]]:
    """_FENCE.findall in linear time: a fence has an end of its line, so none opens behind the last, however many backticks stand there."""
    last, place = text.rfind("\n"), 0
    while (start := text.find("```", place, max(last, 0))) >= 0:
        fence = _FENCE.match(text, start)
        yield fence[1], fence[2]
        place = fence.end()


def _bare_python(text: str) -> str:
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if _PYTHON_START.match(line)), len(lines))
    end = start
    while end < len(lines) and (not lines[end] or _PYTHON_START.match(lines[end]) or _PYTHON_ON.match(lines[end])):
        end += 1
    return "\n".join(lines[start:end]) if any("def " in line or "class " in line for line in lines[start:end]) else ""


def _bare_cpp(text: str) -> str:
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if _CPP_START.match(line)), len(lines))
    end = max((i for i, line in enumerate(lines) if line.rstrip() in ("}", "};")), default=-1)
    return "\n".join(lines[start : end + 1])


def defines(code: str, language: str, name: str) -> bool:
    """Whether the code seems to define a function or class `name`."""
    if language == "python":
        return bool(
            re.search(rf"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+{name}\b|^{name}[ \t]*=", code, re.MULTILINE)
        )
    plain = without_cpp_comments(code)
    if re.search(rf"\b(?:class|struct)\s+{name}\b[^;{{(]*\{{", plain):
        return True
    head = re.compile(rf"[\w>&*]\s*[\s&*]{name}\s*\(")
    parts = re.split(
        "([;{}])", plain
    )  # in parts, as one expression for all of it takes time by the square of its length
    return any(
        end == "{" and head.search(part, 0, max(part.rfind(")"), 0))
        for part, end in zip(parts[::2], parts[1::2], strict=False)
    )


def python_comments(code: str) -> list[str]:
    """Comments and strings that stand alone (docstrings) of Python code, as far as it can be read."""
    found, fresh = [], True
    try:
        tokens = list(_tokens(code))
    except RecursionError:
        return []
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == tokenize.COMMENT:
            found.append(token.string)
        elif token.type == tokenize.STRING and fresh and (following is None or following.type == tokenize.NEWLINE):
            found.append(token.string.lstrip("rRuUbBfF").strip("\"'").strip())
        fresh = token.type in _BETWEEN and (fresh or token.type != tokenize.COMMENT)
    return found


def _tokens(code: str):
    try:
        yield from tokenize.generate_tokens(io.StringIO(code).readline)
    except (tokenize.TokenError, SyntaxError):
        return  # what came before the fault has been read; whether the code parses is asked in the sandbox


def cpp_comments(code: str) -> list[str]:
    """Comments of C++ code; what looks like one inside a string does not count."""
    return [match[1] for match in _CPP_COMMENT.finditer(code) if match[1]]


def without_cpp_comments(code: str, strings: bool = True) -> str:
    """The code with a space for each comment; without `strings` their text is left out, too."""
    return _CPP_COMMENT.sub(lambda match: " " if match[1] else match[0] if strings else '""', code)


def worded(comments: list[str]) -> list[str]:
    """Those that hold a letter: a row of dashes comments on nothing."""
    return [comment for comment in comments if re.search(r"[^\W\d_]", comment)]


def are_chinese(comments: list[str]) -> bool:
    """At least one comment, and at least half of those with letters hold a Han character."""
    speaking = worded(comments)
    return bool(speaking) and sum(1 for comment in speaking if HAN.search(comment)) * 2 >= len(speaking)
