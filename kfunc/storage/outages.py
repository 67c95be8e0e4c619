"""What keeps a storage from answering: the cause, what to check, and when it is asked again. Pure."""

from kfunc.storage.contract import Interrupted

BETWEEN = "what is between here and there (firewall, network policy, proxy)"


def cannot_reach(place: str, cause: str, named_by: str = "the address") -> Interrupted:
    """No connection to `place`, which `named_by` has."""
    cause = cause[:1].lower() + cause[1:]
    check = "that a server listens there, and" if "refused" in cause else f"{BETWEEN}, and"
    return Interrupted(f"cannot reach {place}: {cause}", check=f"check {check} {named_by}")


def cannot_find(host: str, cause: str, named_by: str = "the address") -> Interrupted:
    """The name has no address."""
    cause = cause[:1].lower() + cause[1:]
    return Interrupted(f"cannot find {host}: {cause}", check=f"check the name in {named_by}, and the DNS of this machine")


def told(error: Exception) -> str:
    """The cause on one line, and what to check."""
    return _joined(_cause(error), error)


def told_again(error: Exception, pause_s: float, number: int, tries: int) -> str:
    """The same, with what is done about it: `number` is the next try's."""
    return _joined(f"{_cause(error)}; trying again in {pause_s:.2g} s ({number} of {tries})", error)


def _cause(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _joined(words: str, error: Exception) -> str:
    check = getattr(error, "check", "")
    return f"{words}; {check}" if check else words
