"""What a store's failure means: for good, for now, or for whoever runs it. Texts are obstore's own."""

import pytest

from kfunc.logger_sidecar.contract import Refused, Retry
from kfunc.logger_sidecar.object_outcomes import TOO_LARGE, outcome_of

FAILED = "Generic S3 error: Error performing PUT http://store/audit/key in 43.9ms - Server returned non-2xx status code: "


def failure(status: str, code: str = "", more: str = "") -> Exception:
    """obstore's error of an answer, whose body S3 begins with a line of its own."""
    body = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>no</Message>{more}</Error>' if code else ""
    return Exception(f"{FAILED}{status}: {body}\n\nDebug source:\nGeneric {{ … }}")


@pytest.mark.parametrize(
    ("status", "code", "kept_code"),
    [
        ("413 Payload Too Large", "", TOO_LARGE),
        ("413 Payload Too Large", "RequestBodyTooLarge", TOO_LARGE),
        ("400 Bad Request", "EntityTooLarge", TOO_LARGE),
        ("400 Bad Request", "KeyTooLongError", 400),
        ("400 Bad Request", "", 400),
        ("411 Length Required", "MissingContentLength", 411),
        ("412 Precondition Failed", "", 412),
        ("414 URI Too Long", "", 414),
    ],
)
def test_what_a_store_will_never_take_is_refused(status: str, code: str, kept_code: int) -> None:
    said = f"HTTP {status}" + (f" ({code})" if code else "")
    assert outcome_of(failure(status, code)) == Refused(said, kept_code)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("408 Request Timeout", ""),
        ("409 Conflict", "OperationAborted"),
        ("429 Too Many Requests", ""),
        ("500 Internal Server Error", "InternalError"),
        ("501 Not Implemented", "NotImplemented"),
        ("503 Service Unavailable", "SlowDown"),
        ("400 Bad Request", "RequestTimeout"),
        ("400 Bad Request", "BadDigest"),
        ("400 Bad Request", "IncompleteBody"),
    ],
)
def test_what_it_may_take_later_is_an_answer_that_counts_as_a_try(status: str, code: str) -> None:
    outcome = outcome_of(failure(status, code))
    assert isinstance(outcome, Retry)
    assert outcome.answered


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        ("401 Unauthorized", "", "check the credentials"),
        ("403 Forbidden", "AccessDenied", "check the credentials and what they may write"),
        ("404 Not Found", "NoSuchBucket", "check that the bucket is there"),
        ("400 Bad Request", "ExpiredToken", "check the store's variables"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "check the store's variables"),
        ("400 Bad Request", "KMS.DisabledException", "check the store's variables"),
    ],
)
def test_what_an_operator_has_to_mend_is_no_events_fault(status: str, code: str, advice: str) -> None:
    said = f"HTTP {status}" + (f" ({code})" if code else "")
    assert outcome_of(failure(status, code)) == Retry(f"{said}: {advice}", answered=False)


def test_what_is_said_of_an_answer_has_nothing_of_its_body_but_the_code() -> None:
    signed = "<CanonicalRequest>x-amz-security-token:hush</CanonicalRequest>"
    assert "hush" not in outcome_of(failure("403 Forbidden", "SignatureDoesNotMatch", signed)).reason


def test_a_connection_that_is_not_made_says_why() -> None:
    text = 'Generic S3 error: HTTP error: error sending request\n\nDebug source:\nkind: Os { message: "Connection refused" }'
    said = "Generic S3 error: HTTP error: error sending request: Connection refused"
    assert outcome_of(Exception(text)) == Retry(said, answered=False)
