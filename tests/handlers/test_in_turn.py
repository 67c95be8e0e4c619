"""Tokenizers in several threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from kfunc.handlers.in_turn import in_turn


class Fast:
    """A tokenizer as tokenizers' own: no two calls at once."""

    pad_token_id = 7

    def __init__(self) -> None:
        self._borrowed = threading.Lock()

    def __call__(self, texts: list[str], *, padding: bool = False) -> list[int]:
        if not self._borrowed.acquire(blocking=False):
            raise RuntimeError("Already borrowed")
        time.sleep(0.002)
        self._borrowed.release()
        return [len(text) for text in texts]

    def decode(self, tokens: list[int]) -> str:
        return str(self([""] * len(tokens)))

    def batch_decode(self, tokens: list[list[int]]) -> list[str]:
        return [self.decode(each) for each in tokens]


def test_threads_take_turns_on_a_tokenizer() -> None:
    tokenizer = in_turn(Fast())
    with ThreadPoolExecutor(8) as pool:
        encoded = [pool.submit(tokenizer, ["ab", "c"], padding=True) for _ in range(8)]
        decoded = [pool.submit(tokenizer.decode, [1]) for _ in range(8)]
        together = [pool.submit(tokenizer.batch_decode, [[1], [2]]) for _ in range(8)]
    assert [each.result() for each in encoded] == [[2, 1]] * 8
    assert [each.result() for each in decoded] == ["[0]"] * 8
    assert [each.result() for each in together] == [["[0]", "[0]"]] * 8


def test_it_is_still_what_it_was() -> None:
    tokenizer = in_turn(Fast())
    assert (isinstance(tokenizer, Fast), type(tokenizer).__name__, tokenizer.pad_token_id) == (True, "Fast", 7)
