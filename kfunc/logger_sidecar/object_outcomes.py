"""What a store's failure means for the events of an object: who is at fault, and whether asking again can help.

The rules are Knative's, as for HTTP, but what only an operator can mend is no event's fault: it is asked for again until
somebody has mended it. obstore tells the status and the store's words only in its text. Sans-IO.
"""

import re

from kfunc.logger_sidecar.contract import Refused, Retry

TOO_LARGE = 413
RETRIED = frozenset((408, 409, 429))
# The credentials, the permissions, the bucket. A redirection means another region.
OPERATORS = {
    401: "check the credentials",
    403: "check the credentials and what they may write",
    404: "check that the bucket is there",
}
ADVICE = "check the store's variables"
# S3 answers 400 to these, too: the first of credentials, keys and regions, the second of uploads that were damaged on the way.
OF_OPERATORS = re.compile(r"Token|Auth|Credential|Signature|Bucket|Container|Account|Region|Location|^KMS")
DAMAGED = re.compile(r"Digest|Md5|SHA256|Incomplete|Timeout")
OF_SIZE = ("EntityTooLarge", "RequestBodyTooLarge")

STATUS = re.compile(r"status code: (\d{3})( [A-Z][A-Za-z -]*)?")
CODE = re.compile(r"<Code>([\w.]{1,100})</Code>")
CAUSE = re.compile(r'(?:message|error): "([^"]+)"')


def outcome_of(error: Exception) -> Refused | Retry:
    """What to do with the events of an object that could not be written."""
    text = str(error)
    answered = STATUS.search(text)
    if answered is None:
        return Retry(_without_answer(text), answered=False)
    status, words = int(answered[1]), answered[2] or ""
    code = found[1] if (found := CODE.search(text)) else ""
    reason = f"HTTP {status}{words}" + (f" ({code})" if code else "")
    if status < 400 or status in OPERATORS or (status == 400 and OF_OPERATORS.search(code)):
        return Retry(f"{reason}: {OPERATORS.get(status, ADVICE)}", answered=False)
    if status >= 500 or status in RETRIED or (status == 400 and DAMAGED.search(code)):
        return Retry(reason, code=status)
    return Refused(reason, TOO_LARGE if code in OF_SIZE else status)


def _without_answer(text: str) -> str:
    """What obstore says on its first line, and the system's words in its debugging lines."""
    said, _, more = text.partition("\n")
    cause = CAUSE.search(more)
    return f"{said}: {cause[1]}" if cause else said
