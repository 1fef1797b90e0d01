"""What a pair contrasts: the language of its answers, words of another language mixed in, emoji, refusals.

Language is judged here by one pass over words and runs of Han characters, because a report reads every row of a million and
eval's rules take 2 to 6 ms an answer. Emoji are eval's rule (eval/scorers/emoji.py) behind a test that most texts fail at once.
Whether an answer refuses is eval's rule (eval/scorers/refusal.py) on the start and the end of an answer, for a sample of rows
(build.py). These scorers are pure functions without torch; calibrated once, they must not be written twice, so the map of the
design (pyproject.toml) lets this module and no other of this station import them.

Measured on the demo pairs, whose `fault` says what is wrong with each rejected answer (training/data/demo_pairs.jsonl, 452):
    english_answer, english_lead_in, chinese_answer (214)  all "teaches"; nothing else but mixed_language is
    mixed_language (64)     55 "teaches" (less than ZH_SHARE is left), the other 9 "both" with mixing in the rejected answer alone
    emoji (48)              47 found, none elsewhere (the other one is a face made of signs, which is no emoji here)
    chatty_tone, wrong_answer (126)  all "both", no emoji
So on these labels "teaches" has precision and recall 1 for the faults of language, emoji precision 1 and recall .98.
On the 584 different rows of two real DPO demos (300 Chinese, 300 English as published, 16 of them twice) none teaches the language.
eval's rule, on whole answers, differs in four Chinese rows (it says "teaches" once, "against" twice, "neither" once: answers in
Chinese that cite English titles, names or Gujarati at length), in one English row of numbers, and in one of a single long word.
On the 2,072 answers of all three files `refuses` differs from eval's rule on the whole answer in 2 of 92 refusals, and in one
answer that is none.
Not told apart: dialects, and languages by their words beyond French, Spanish, German, Italian and Portuguese.
"""

import re
from typing import NamedTuple

from eval.scorers.emoji import emoji
from eval.scorers.language_rules import FUNCTION_WORDS
from eval.scorers.refusal import classify
from eval.scorers.words import CODE_TERMS, HAN_PER_WORD, LOAN_TERMS, QUOTED, words_of
from training.preferences import Pair

LANGUAGE_CLASSES = ("teaches", "against", "both", "neither", "unclear", "other_asked")
SIDES = ("only_chosen", "only_rejected", "both", "neither")
ZH_OR_EN = frozenset({"zh", "zho", "chi", "cmn", "cn", "en", "eng"})
ZH_SHARE = 0.75  # of the words: as eval's rule
HEAD = 300  # characters in which the opening of an answer is looked for
ASKING = 600  # characters of each end of a prompt in which a wish for another language is looked for
LONG = 3000  # characters of an answer that are read for its language
EDGE = 400  # characters of each end of an answer in which a refusal is looked for: eval's rule reads four sentences of each

_SCRIPTS = "\u0400-\u10ff\u3040-\u30ff\uac00-\ud7af"  # Cyrillic to Georgian (Hebrew, Arabic, those of India, Thai), kana, hangul
_TOKEN = re.compile(r"[㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]+|[A-Za-zÀ-ɏ]+(?:['’-][A-Za-z]+)*|" + f"[{_SCRIPTS}]+")
_HAN = re.compile(r"[㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]")
_FOREIGN = re.compile(f"[{_SCRIPTS}]")
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_CODE = re.compile(
    r"`[^`\n]*`|</?[A-Za-z][^<>\n]*>|https?://\S+|\$[^$\n]{1,400}\$|\\\(.{1,400}?\\\)|\\\[.{1,400}?\\\]", re.DOTALL
)
_CODE_LINE = re.compile(r"^[^\n一-鿿]*[=(){}<>][^\n一-鿿]*(?:[;{}]|\):)[ \t]*$", re.MULTILINE)
_IDENTIFIER = re.compile(r"\b[A-Za-z]\w*(?:(?:[._]|::|->)[A-Za-z]\w*)+(?:\(\))?|\b[A-Za-z]\w*\(", re.ASCII)
_GLOSS = re.compile(r"[(（][^()（）一-鿿\n]{1,80}[)）]")
_LEAD_IN = re.compile(r"\s*[A-Za-z][^:：一-鿿\n]{6,120}[:：]\s*[\n*“]*[一-鿿]")  # "Sure, here is how: 先…"
_COMMENT = re.compile(r"(?:^|\s)(?:#(?!include|define)|//|--|/\*)\s*([^\n]+)", re.MULTILINE)
_HAN_OR_FOREIGN = re.compile(f"{_HAN.pattern}|{_FOREIGN.pattern}")
_LETTERS = re.compile(r"(?<!\w)[A-Za-zÀ-ɏ]+(?!\w)")
_TWO = re.compile(r"\w\w")
_WORD = re.compile(r"[A-Za-z]{2}")
_OPENING = re.compile(r"\s*(.+?(?:[。！？!?\n]|\.(?=\s|$)|$))", re.DOTALL)
_PICTURE = re.compile(
    "[\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff]"
)  # holds every emoji of eval's rule

# Without one of these no sentence declines or rejects: spares eval's patterns half of all answers.
_MAY_REFUSE = re.compile(
    r"n['’]t\b|\bcannot\b|\bnot\b|\bunable\b|\bsorry\b|\bapolog|\bdecline|\brefuse|\bagainst\b|\bno one\b|\bbeyond\b|\boutside\b"
    r"|\bno (?:\w+ )?(?:reason|justification|evidence|basis)|illegal|unethical|immoral|inappropriate|wrong|suicide|crisis|lifeline"
    r"|uncomfortable|\bI must\b|\brather\b|[不无拒恕法没别勿停犯罪劝换]|谢绝|难以|抱歉|热线|援助|危机|123|省略|跳过|略去|回避|打消|打住|超出",
    re.IGNORECASE,
)

_TONGUE = "英文|英语|英語|日文|日语|日語|法文|法语|德文|德语|韩文|韩语|俄文|俄语|西班牙文|西班牙语|意大利语|葡萄牙语|阿拉伯语|拉丁语|粤语"
_ASKED_IN_CHINESE = re.compile(
    rf"(?:用|以|使用|说成|讲成)(?:地道|简单|流利|标准|正式|纯|通俗|简洁|的|一[段句篇封个])*(?:{_TONGUE})(?!提|写的|书写|问|表示的|编写的|说的)"
    rf"|(?:翻译|译|改写|转换|写|改|转)(?:成|为|作|到)(?:地道|简单|流利|标准|正式|的)*(?:{_TONGUE})"
    rf"|(?:{_TONGUE})(?:怎么|如何|该怎么)(?:说|讲|写|表达|翻译)|(?:中|汉)译(?:英|日|法|德|韩|俄)|(?:{_TONGUE})(?:回答|回复|作答|答复)"
    rf"|(?:写|拟|起草|生成|创作|造)[^。！？\n]{{0,12}}(?:{_TONGUE})(?:的)?(?:邮件|作文|信|摘要|文章|标题|短文|诗|简历|广告|口号|故事|句子|例句|对话|演讲|自我介绍)"
    r"|\b(?:in|into|to) (?:english|french|german|japanese|spanish|korean|russian)\b",
    re.IGNORECASE,
)
_OTHER = "chinese|mandarin|cantonese|french|german|japanese|spanish|korean|russian|italian|portuguese|arabic|hindi|latin|dutch|vietnamese|thai|turkish|polish|swedish|romanian|greek|hebrew|persian|urdu|bengali|tamil|czech|danish|finnish|hungarian|indonesian|ukrainian|yoruba"
_ASKED_IN_ENGLISH = re.compile(
    r"\b(?:translat\w*|write|answer|reply|respond|say|said|speak|rewrite|describe|explain|convert|summari[sz]e|compose|called|output|generate)\b"
    rf"[^?!\n]{{0,200}}?\b(?:in|into|to|using) (?:simplified |traditional |brazilian )?(?:{_OTHER})(?! +(?!characters?\b|language\b|please\b|and\b|for\b|with\b|or\b|using\b|from\b|is\b)[a-z])"
    rf"|\btarget language:?\s*(?:{_OTHER})|\benglish[ -](?:to|into)[ -](?:{_OTHER})|用(?:中文|汉语)|翻译成(?:中文|汉语)",
    re.IGNORECASE,
)


# Without one of these no prompt asks for another language: spares most prompts the patterns above.
_NAMED_IN_CHINESE = (*"英日法德韩俄", "西班牙", "意大利", "葡萄牙", "阿拉伯", "拉丁", "粤语", "english", "french", "german", "japanese", "spanish",
    "korean", "russian")  # fmt: skip
_NAMED_IN_ENGLISH = (*_OTHER.split("|"), "中文", "汉语")
_PLAIN = (" the ", " and ", " of ", " to ", " is ", " that ")  # two of them: English, and no more is asked


class Tongue(NamedTuple):
    """What one text is written in. `main`: "zh", "en", "other", or None where no word of a language is left to judge."""

    main: str | None
    mixed: bool  # words of the other language stand among those of the main one


def language_contrast(pair: Pair) -> tuple[str, str]:
    """(class of LANGUAGE_CLASSES, side of SIDES on which the languages are mixed), by the last user turn's language.

    "teaches": chosen is in the prompt's language and rejected is not; "against": the other way round. "other_asked": the prompt
    asks for another language, so that no contrast is wanted. "unclear": the prompt's or an answer's language cannot be judged.
    Mixed: an answer in the prompt's language among whose words stand words of the other; "neither" where that is not judged.
    """
    question = pair.prompt[-1]["content"]
    wanted = prompt_language(question)
    if wanted is None:
        return "unclear", "neither"
    if asks_for_another(question, wanted):
        return "other_asked", "neither"
    allowed = words_of(question) if wanted == "zh" else frozenset()
    chosen, rejected = answer_language(pair.chosen, wanted, allowed), answer_language(pair.rejected, wanted, allowed)
    if chosen.main is None or rejected.main is None:
        return "unclear", "neither"
    good, bad = chosen.main == wanted, rejected.main == wanted
    found = "both" if good and bad else "teaches" if good else "against" if bad else "neither"
    return found, side(good and chosen.mixed, bad and rejected.mixed)


def is_foreign(language: str) -> bool:
    """Whether a row's language is named as neither Chinese nor English, by its code: its prompt is not to be judged as either."""
    code = re.split("[-_]", language.lower())[0]
    return code == "other" or (re.fullmatch("[a-z]{2,3}", code) is not None and code not in ZH_OR_EN)


def prompt_language(question: str) -> str | None:
    """ "zh" or "en", by the words of a prompt, or of its first and last line where it brings material along; None if neither."""
    if question.isascii():
        return "en" if _WORD.search(question) else None
    text = _ends(question, ASKING)
    if len(_FOREIGN.findall(text)) > 0.1 * len(text):
        return None
    said = QUOTED.sub(" ", text)
    text = said if _HAN.search(said) or _WORD.search(said) else text
    lines = text.split("\n")
    for some in (lines, reversed(lines)):
        line = next((line for line in some if _TWO.search(line)), "")
        if han_share(line) >= 0.3 and len(_HAN.findall(line)) >= 2:
            return "zh"
    return "zh" if han_share(text) >= 0.3 else "en" if _WORD.search(text) else None


def _ends(text: str, size: int) -> str:
    return text if len(text) <= 2 * size else f"{text[:size]}\n{text[-size:]}"


def han_share(text: str) -> float:
    """Han characters, as words, among all words: 0 to 1; 0 where there is none."""
    han = latin = 0
    for token in _TOKEN.findall(text):
        if _HAN.match(token):
            han += len(token)
        else:
            latin += 1
    return (han / HAN_PER_WORD) / (han / HAN_PER_WORD + latin) if han else 0.0


def asks_for_another(question: str, wanted: str) -> bool:
    """Whether a prompt in `wanted` asks for an answer in another language: 翻译成英文, "translate into Chinese"."""
    pattern, names = (
        (_ASKED_IN_CHINESE, _NAMED_IN_CHINESE) if wanted == "zh" else (_ASKED_IN_ENGLISH, _NAMED_IN_ENGLISH)
    )
    text = _ends(question, ASKING)
    low = text.lower()
    return any(name in low for name in names) and pattern.search(text) is not None


def answer_language(text: str, wanted: str, allowed: frozenset[str] = frozenset()) -> Tongue:
    """What an answer to a prompt in `wanted` is written in; `allowed`: Latin words that a Chinese answer may hold."""
    text = text[:LONG]
    if wanted == "en":
        return _english(text)
    if not _WORD.search(text) and _HAN.search(text) and not _FOREIGN.search(text):
        return Tongue("zh", False)
    return _chinese(_prose(text), allowed)


def _prose(text: str) -> str:
    """The text without code, tags, links and formulas; what is nothing but code is judged by its comments."""
    prose = text
    if "```" in prose:
        prose = _FENCE.sub(" ", prose)
    if "`" in prose or "<" in prose or "http" in prose or "$" in prose or "\\" in prose:
        prose = _CODE.sub(" ", prose)
    if "(" in prose or "_" in prose or "{" in prose or "=" in prose or "." in prose:
        prose = _IDENTIFIER.sub(" ", _CODE_LINE.sub(" ", prose))
    if prose is text or _HAN.search(prose) or _WORD.search(prose):
        return prose
    return "\n".join(_COMMENT.findall(text))


def _chinese(text: str, allowed: frozenset[str]) -> Tongue:
    """An answer of which ZH_SHARE is Chinese and that does not open in another language is Chinese."""
    han, foreign, ordinary, other = _count(text, allowed)
    if not han:
        words = _LETTERS.findall(text)
        said = any(word.islower() and len(word) > 2 and word not in LOAN_TERMS for word in words)
        grammar = FUNCTION_WORDS["English"].intersection(word.lower() for word in words)
        return _latin(text) if said or other or len(grammar) > 1 else Tongue(None, False)  # names alone are not judged
    weight = han / HAN_PER_WORD
    if other > weight:
        return Tongue("other", False)
    if weight < ZH_SHARE * (weight + foreign):
        return Tongue("en", True)
    if (lead := _LEAD_IN.match(text[:HEAD])) and _count(lead[0], allowed)[2] > 1:
        return Tongue("en", True)
    opening = _OPENING.match(text[:HEAD])
    first = _count(opening[1], allowed) if opening else (0, 0, 0, 0)
    if first[0] / HAN_PER_WORD < first[1]:
        return Tongue("en", True)
    return Tongue("zh", bool(ordinary) and _count(QUOTED.sub(" ", text), allowed)[2] > 0)


def _count(text: str, allowed: frozenset[str]) -> tuple[int, int, int, int]:
    """Han characters; Latin words that Chinese does not hold; the ordinary ones of these; words in other scripts."""
    han = names = ordinary = other = 0
    for token in _TOKEN.findall(text):
        if token[0] < "\u0250":
            if len(token) < 2 or token.isupper() or (low := token.lower()) in LOAN_TERMS or low in allowed:
                continue
            if token[0].isupper():
                names += 1
            elif len(token) > 2 and low not in CODE_TERMS:
                ordinary += 1
        elif _HAN.match(token):
            han += len(token)
        else:
            other += 1
    return han, ordinary + (names if ordinary > names else 0), ordinary, other


def _english(text: str) -> Tongue:
    """English, unless a quarter of the words are Han; any Han outside quotation marks and brackets is mixed in."""
    if text.isascii() or not _HAN_OR_FOREIGN.search(text):
        return _latin(text)
    text = _prose(text)
    if len(_FOREIGN.findall(text)) > 0.1 * len(text):
        return Tongue("other", False)
    if not _HAN.search(text):
        return _latin(text)
    if han_share(text) >= 0.25:
        return Tongue("zh", True)
    return Tongue("en", _HAN.search(QUOTED.sub(" ", text)) is not None)


def _latin(text: str) -> Tongue:
    """Latin letters: English, or by its different function words (two at least, more than English ones) another language."""
    head = text[:HEAD]
    if sum(word in head for word in _PLAIN) > 1:
        return Tongue("en", False)
    words = {word.lower() for word in _LETTERS.findall(head)}
    if not any(len(word) > 1 for word in words):
        return Tongue(None, False)
    english = len(words & FUNCTION_WORDS["English"])
    foreign = max(len(words & known) for name, known in FUNCTION_WORDS.items() if name != "English")
    return Tongue("other" if foreign >= 2 and foreign > english else "en", False)


def side(chosen: bool, rejected: bool) -> str:
    """Which answers of a pair show something: a word of SIDES."""
    if chosen:
        return "both" if rejected else "only_chosen"
    return "only_rejected" if rejected else "neither"


def holds_emoji(text: str) -> bool:
    """eval's rule, asked only where a text holds a character that could be one."""
    return not text.isascii() and _PICTURE.search(text) is not None and emoji(text).score == 1


def emoji_contrast(pair: Pair) -> str:
    """On which side of SIDES an emoji stands."""
    return side(holds_emoji(pair.chosen), holds_emoji(pair.rejected))


def refuses(text: str) -> bool:
    """Whether an answer refuses in full or in part, by eval's rule on the first and last EDGE characters."""
    text = _ends(text, EDGE)
    return _MAY_REFUSE.search(text) is not None and classify(text) in ("refusal", "partial")


def refusal_contrast(pair: Pair) -> str:
    """On which side of SIDES the answer refuses."""
    return side(refuses(pair.chosen), refuses(pair.rejected))
