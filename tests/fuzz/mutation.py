"""Inputs made from seeds: bytes changed, cut and put in, JSON values exchanged. Deterministic by its Random."""

import json
from random import Random
from typing import Any

MAX_SIZE = 4096

# What parsers trip over; each may be put in anywhere.
TOKENS = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b" ", b"\n", b"\0", b"null", b"true", b"false"),
    *(b"NaN", b"Infinity", b"-", b"-0", b"0", b"1", b"-1", b"0.1", b"1e5", b"1e400", b"1E-400", b"00"),
    *(b"255", b"256", b"65536", b"2147483648", b"4294967296", b"9007199254740993"),
    *(
        b"9223372036854775807",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"18446744073709551615",
        b"18446744073709551616",
    ),
    *(b"9" * 400, b"9" * 5000, b"[" * 40, b"]" * 40, b"[" * 2000, b'{"a":' * 1000, b" " * 3000),
    *(b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"\\u0000", b'"\\udfff"', "é😀".encode()),
    *(b"\r\n", b"\r\n\r\n", b"\t", b"%", b"%2f", b"%00", b"%ff", b"/", b"..", b"?", b"#", b";", b"=", b"q=0", b"*"),
]
TOKENS += [b'"name"', b'"shape"', b'"datatype"', b'"data"', b'"inputs"', b'"outputs"', b'"parameters"', b'"id"', b'"b64"']
TOKENS += [b'"specversion"', b'"data_base64"', b'"datacontenttype"', b'"time"', b"ce-", b"%E2%82%AC", "\uffff\x85".encode()]
TOKENS += [b'"instances"', b'"binary_data_size"', b'"binary_data_output"', b'"binary_data"', b'"signature_name"']
LENGTHS = [0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1]

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, 5e-324, 255, 256, -129, 2**31, 2**32, 2**53 + 1),
    *(2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 2**70, 10**300, -(10**300)),
    *("", "a", "\ud800", "\0", "é😀", "BYTES", "BOOL", "INT64", "UINT8", "FP16", "BF16", "FP32", "JSON", "x", "b"),
    *([], [[]], [[], []], [1], [1, 2], [1, "a"], [[1, 2], [3]], [True, 1], [None], [2**40, 2**40], [-1], [0], [0, 2**62]),
    *(
        {},
        {"b64": "YQ=="},
        {"b64": "!"},
        {"b64": 5},
        [{"b64": "/w=="}],
        {"x": 1},
        {"binary_data_size": 4},
        {"binary_data": True},
    ),
]
VALUES += ["INT8", "INT16", "INT32", "UINT16", "UINT32", "UINT64", "FP64", 1.5, 4, 8, [[1.5, 2.5]], [[1, 2]]]
ALIKE = {kind: [value for value in VALUES if type(value) is kind] for kind in (int, float, str, bool, list, dict)}


class Mutator:
    """Makes one input after the other from a corpus that its user may add to."""

    def __init__(self, random: Random, corpus: list[bytes]) -> None:
        self._random = random
        self.corpus = corpus

    def next(self) -> bytes:
        """The next input: 1 to 4 changes of something in the corpus."""
        random = self._random
        content = random.choice(self.corpus if random.random() < 0.7 else self.corpus[-8:])  # what is new is tried more
        if random.random() < 0.4:
            content = self._exchange_value(content)
        else:
            for _ in range(random.choice((1, 1, 2, 3, 4))):
                content = self._change(content)
        return content

    def _change(self, content: bytes) -> bytes:
        random = self._random
        size = len(content)
        start = random.randrange(size + 1)
        end = min(size, start + random.choice((1, 1, 2, 4, 8, 32, 256)))
        match random.randrange(8):
            case 0:
                return content[:start]
            case 1:
                return content[:start] + content[end:]
            case 2:
                return content[:start] + content[start:end] * random.choice((2, 2, 3, 50)) + content[end:]
            case 3:
                return content[:start] + random.choice(TOKENS) + content[start:]
            case 4:
                return content[:start] + random.choice(TOKENS) + content[end:]
            case 5:
                other = random.choice(self.corpus)
                return content[:start] + other[random.randrange(len(other) + 1) :]
            case 6:
                number = random.choice(LENGTHS).to_bytes(4, random.choice(("little", "big")))
                return content[:start] + number[: random.choice((1, 2, 4))] + content[start + 4 :]
            case _:
                return content[:start] + random.randbytes(end - start) + content[end:]

    def _exchange_value(self, content: bytes) -> bytes:
        """A JSON document, from its first brace to its last, with another value somewhere in it."""
        start, end = content.find(b"{"), content.rfind(b"}") + 1
        try:
            document = json.loads(content[start:end])
            text = json.dumps(self._exchanged(document), ensure_ascii=self._random.random() < 0.5)
            return content[:start] + text.encode("utf-8", "surrogatepass") + content[end:]
        except (ValueError, RecursionError):
            return self._change(content)

    def _exchanged(self, value: Any) -> Any:
        random = self._random
        if isinstance(value, dict) and value and random.random() < 0.9:
            key = random.choice(list(value))
            if random.random() < 0.1:
                return {each: item for each, item in value.items() if each != key}
            return {**value, key: self._exchanged(value[key])}
        if isinstance(value, list) and value and random.random() < 0.8:
            number = random.randrange(len(value))
            if random.random() < 0.1:
                return value[:number] + value[number + 1 :]
            return [*value[:number], self._exchanged(value[number]), *value[number + random.choice((0, 1, 1, 1)) :]]
        return random.choice(ALIKE.get(type(value), VALUES) if random.random() < 0.5 else VALUES)
