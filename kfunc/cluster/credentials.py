"""What credentials look like: the names of what holds one, and how texts show them. Pure.

One vocabulary serves the names of fields, variables, flags and headers, and `name=value` in texts. What is in doubt is hidden.
"""

import re

HIDDEN = "<redacted>"
KEYS = (
    "access account api encryption functions hmac license master private secret service shared signing ssh storage subscription"
)
# Each alternative begins with a letter: so the search passes quickly over all other letters.
NAME = (
    r"(?:pass(?:word|wd|phrase|code)|pass(?<!bypass)(?<!compass)(?![a-z])|pwd|secret|token(?!iz)|credentials?|auth(?![a-z])|dsn"
    rf"|connection[-_]?string|{'|'.join(f'{word}[-_ ]?key' for word in KEYS.split())})"
)
"""A name that ends so has a credential as its value."""
WHOLE_LINE = r"(?:authorization|cookie|[-_]headers)"
"""Names whose values have parts of their own, parted by blanks and commas."""
SECRET_NAME = re.compile(rf"(?i){NAME}|{WHOLE_LINE}|headers$|auth(?!or)")
"""Fields, variables, flags and headers whose values are nobody's business; the name is all that is known of them."""
NAMES_A_SECRET = re.compile(r"(?i)(?:name|ref|mounttoken|policy|^imagepullsecret|^env_secret|^file_secret)$")
"""Fields of that kind which only say where it is."""

OPEN = r"""\\*["']"""  # a quote, with the backslashes of the texts that it is quoted in
QUOTED = rf"(?P<quote>{OPEN})(?:[^\n]*?)(?:(?<!\\)(?P=quote)|(?=\n)|\Z)"
AFTER = r"""(?=[\s,;:&})\]"']|\\+["']|[\w.$-]{1,64}=|\Z)"""  # what follows a mark that ends a value: else it is a part of it
PLAIN = rf"""(?:[^\s"'\\,;&}})\]]|\\+(?!["'\\])|(?:[,;&}})\]]|{OPEN})(?!{AFTER}))+"""
NOTHING = r"""(?!(?:null|none|true|false)(?:[\s,;})\]"']|\Z))"""
WITHIN = rf"(?:\[\s*(?={OPEN})|\{{\s*{OPEN}(?:exact|prefix|regex){OPEN}\s*:\s*)?"  # a list of texts, what a text must match
IS = rf"(?:{OPEN})?\s*[:=]{{1,2}}>?\s*{WITHIN}(?:b(?={OPEN}))?"  # what stands between a name and its value
STRUCTURE = rf"(?![\[{{]\s*(?:{OPEN}|[\[\]{{}}\n]))"  # what is in it has names of its own
FLAG = rf"(?<![\w-])--?[\w-]*?(?:{NAME}|{WHOLE_LINE})(?:{OPEN}\s*,)?\s+(?!-)"
NAMED = (  # a variable of a container, a header: as JSON, as YAML, as Go prints it
    rf"(?<![\w-])name(?:{OPEN})?\s?[:=]\s?(?:{OPEN})?[\w.-]{{0,64}}?(?:{NAME}|{WHOLE_LINE})[\w.-]{{0,64}}(?:{OPEN})?"
    rf"[\s,]{{1,64}}(?:{OPEN})?value(?:{OPEN})?\s?[:=]\s?"
)

QUOTED_AGAIN = rf"\1\g<quote>{HIDDEN}\g<quote>"  # what was JSON still is

IN_TEXT = tuple(
    (re.compile(pattern), shown)
    for pattern, shown in (
        (r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)", HIDDEN),
        (rf"(?i)({WHOLE_LINE}{IS}){STRUCTURE}(?:{QUOTED}|[^\n]+)", QUOTED_AGAIN),
        (rf"(?i)({NAME}{IS}){NOTHING}{STRUCTURE}(?:{QUOTED}|{PLAIN})", QUOTED_AGAIN),
        (rf"(?i)({NAMED}){STRUCTURE}(?:{QUOTED}|{PLAIN})", QUOTED_AGAIN),
        (rf"(?i)({FLAG})(?:{QUOTED}|{PLAIN})", QUOTED_AGAIN),
        (rf"(?i)(<[\w:.-]{{0,64}}{NAME}>)[^<\s][^<]*(?=</)", rf"\1{HIDDEN}"),
        (r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}", rf"\1{HIDDEN}"),
        (r"(?i)([?&](?:x-(?:amz|goog)-(?:signature|credential|security-token)|sig|signature)=)[^\s&\"']+", rf"\1{HIDDEN}"),
        (r"(://[^\s/:@\"'\[]*:)(?!\d{1,5}[/?#])(?:(?!://)[^\s\"'])+(@)", rf"\1{HIDDEN}\2"),  # a password may hold / and @
        (r"(://)[^\s/:@\"'\[]{8,}(@)(?!sha\d)", rf"\1{HIDDEN}\2"),
        (r"(?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", HIDDEN),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", HIDDEN),
        (r"\bAIza[A-Za-z0-9_-]{35}", HIDDEN),
        (r"(?<![\w-])(?:gh[oprsu]_|github_pat_|hf_|npm_|glpat-|pypi-|xox[abeprs]-)[A-Za-z0-9-]{16,}\w*", HIDDEN),
        (r"(?<![\w-])[prs]k-(?:[a-z]+\d*-){0,2}(?=[A-Za-z_]*\d)[A-Za-z0-9_]{16,}[A-Za-z0-9_-]*", HIDDEN),
    )
)


def is_secret(name: str) -> bool:
    """Whether a field of that name holds a secret; one that only says where a Secret is does not."""
    return bool(SECRET_NAME.search(name)) and not NAMES_A_SECRET.search(name)


def takes_secret(argument: str) -> bool:
    """Whether an argument of a command is a flag whose value, the next argument, is a secret."""
    return argument.startswith("-") and not re.search(r"[\s=:]", argument) and bool(SECRET_NAME.search(argument))


def hide(text: str) -> str:
    """The text without what looks like a credential."""
    for pattern, shown in IN_TEXT:
        text = pattern.sub(shown, text)
    return text
