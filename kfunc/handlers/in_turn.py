"""A tokenizer that threads use one after the other. Imports no library."""

import threading
from typing import Any


def in_turn(tokenizer: Any) -> Any:
    """The tokenizer, changed: a fast one raises "Already borrowed" where two threads call it at once (transformers#47085)."""
    kind: Any = type(tokenizer)
    turn = threading.RLock()  # batch_decode may ask decode

    class InTurn(kind):  # type: ignore[misc]
        """One call at a time; transformers' own code takes it for what it was."""

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            with turn:
                return super().__call__(*arguments, **options)

        def decode(self, *arguments: Any, **options: Any) -> Any:
            with turn:
                return super().decode(*arguments, **options)

        def batch_decode(self, *arguments: Any, **options: Any) -> Any:
            with turn:
                return super().batch_decode(*arguments, **options)

    InTurn.__name__, InTurn.__qualname__, InTurn.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    tokenizer.__class__ = InTurn
    return tokenizer
