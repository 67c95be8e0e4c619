"""Credentials in texts are hidden, whole, whatever writes them there; what is none stays."""

import time

import pytest

from kfunc.cluster.credentials import HIDDEN, hide, is_secret, takes_secret

TEXTS = [
    ("Authorization: Bearer abc.def-123456", ["abc.def"]),
    ('{"authorization":"Basic dXNlcjpwYXNz"}', ["dXNlcjpwYXNz"]),
    ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is old", ["eyJ"]),
    ("key AKIAIOSFODNN7EXAMPLE was refused", ["AKIAIOSFODNN7EXAMPLE"]),
    ("connecting to amqp://ann:s3cr3t@rabbit:5672/", ["s3cr3t"]),
    ("password=hunter2, retrying", ["hunter2"]),
    ("GET https://b.s3.amazonaws.com/m?X-Amz-Signature=0123abcd&x=1", ["0123abcd"]),
    ("GET https://storage.googleapis.com/m?X-Goog-Signature=0123abcd", ["0123abcd"]),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", ["MIIB"]),
    ("hf_abcdefghijklmnopqrstuvwx is no token any more", ["hf_abcdefghijklmnopqrstuvwx"]),
    ("x-api-key: abcdef123456", ["abcdef"]),
    ("args: --api-key=sk-abcdef123456", ["abcdef"]),
    ("vllm serve --api-key abcdef123456 --port 8000", ["abcdef"]),
    ("['--api-key', 'abcdef123456', '--port', '8000']", ["abcdef"]),
    ("OTEL_EXPORTER_OTLP_HEADERS=api-key=abcdef,x-honeycomb-team=fedcba", ["abcdef", "fedcba"]),
    (r'{"message":"body {\"password\": \"hunter2\"}"}', ["hunter2"]),
    ('password: "correct horse battery"', ["correct", "horse", "battery"]),
    (r'"password": "say \"horse\" twice"', ["say", "horse", "twice"]),
    ('"password": "a,b,c1234"', ["a,b", "c1234"]),
    ("password=a,b1234 and so on", ["a,b", "b1234"]),
    ('password=ab"cd and so on', ["ab", "cd"]),
    ("Authorization: Token abcdef123456", ["abcdef"]),
    ("Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us, Signature=deadbeef99", ["AKIDEXAMPLE", "deadbeef"]),
    ("pwd=hunter2", ["hunter2"]),
    ("passphrase=hunter2", ["hunter2"]),
    ("private_key: abc123", ["abc123"]),
    ("secret_key=abc123", ["abc123"]),
    ("aws_secret_access_key = AbC/dEf+gh", ["AbC", "gh"]),
    ("client_secret=abc123", ["abc123"]),
    ("credentials=abc123", ["abc123"]),
    ("Cookie: session=abc123def; theme=dark", ["abc123def"]),
    ("AccountKey=abcdEFGH==;EndpointSuffix=core.windows.net", ["abcdEFGH"]),
    ("SharedAccessKey=abcd==", ["abcd"]),
    ("with sk-proj-abcdefghijklmnop1234 it is", ["abcdefghijklmnop1234"]),
    ("github_pat_11ABCDEFG0abcdefghijklmnop", ["11ABCDEFG0"]),
    ("git clone https://t0kent0ken@host/x", ["t0ken"]),
    ('{"X-Api-Key":["abc123"],"Host":["a"]}', ["abc123"]),
    ('{"headers":{"x-api-key":{"exact":"abc123"}}}', ["abc123"]),
    ("<password>hunter 2</password>", ["hunter", " 2"]),
    ("postgres://u:pa/ss@host/db", ["pa/", "ss@"]),
    ("postgres://u:p@ss/word@host/db", ["p@ss", "word"]),
    ('"env":[{"name":"DB_PASSWORD","value":"hunter2"}]', ["hunter2"]),
    (r"{\"name\":\"DB_PASSWORD\",\"value\":\"hunter 2\"}", ["hunter", " 2"]),
    ("- name: API_TOKEN_OLD\n  value: hunter2", ["hunter2"]),
    ("EnvVar{Name:DB_PASSWORD,Value:hunter2,ValueFrom:nil,}", ["hunter2"]),
]


@pytest.mark.parametrize(("text", "secrets"), TEXTS, ids=[text[:40] for text, _ in TEXTS])
def test_a_credential_in_a_text_is_hidden(text: str, secrets: list[str]) -> None:
    shown = hide(text)
    assert [secret for secret in secrets if secret in shown] == []
    assert HIDDEN in shown


@pytest.mark.parametrize(
    "text",
    [
        "POST /v2/models/iris/infer 200 8.58 ms 252 B\nhttp://broker-ingress.knative-eventing.svc:80/default/default",
        "oci://ghcr.io:443/team/iris@sha256:abc",
        "docker-pullable://somebodys-image@sha256:abc",
        "http://host:8080?mail=ann@example.com",
        "prompt tokens: 128, max_tokens=5, tokenizer: bert, author: ann, bypass: on",
        'secrets "db" not found',
        '{"secret":{"name":"db","key":"a"},"authorization":{"rules":[{"to":"x"}]},"tls_headers":[]}',
        "token: [{'name': 'a'}], secret: {}",
        '{"name":"HOME","value":"/tmp"}, {"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"name":"db"}}}',
        '{"token": null, "secret": false}',
        'kfunc_requests_total{model="iris",code="200"} 1',
        "pod sk-iris-00001-deployment-5bd6c7d8f9-abcde",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert hide(text) == text


def test_what_was_json_before_still_is() -> None:
    assert hide(r'{"message":"{\"password\": \"a b\"}","level":"info"}') == (
        rf'{{"message":"{{\"password\": \"{HIDDEN}\"}}","level":"info"}}'
    )


def test_what_comes_after_a_value_stays() -> None:
    assert hide("{token=abc, x=1};password=a;user=bob") == f"{{token={HIDDEN}, x=1}};password={HIDDEN};user=bob"


@pytest.mark.parametrize(
    "name", ["DB_PASSWORD", "clientSecret", "x-api-key", "Authorization", "OTEL_EXPORTER_OTLP_HEADERS", "SASL_SECRETS"]
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["secretName", "imagePullSecret", "author", "env_secret", "replicas"])
def test_a_name_of_something_else_is_none(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("argument", "takes"), [("--api-key", True), ("--api-key=x", False), ("--port", False), ("token", False)]
)
def test_a_flag_of_a_secret_is_known(argument: str, takes: bool) -> None:
    assert takes_secret(argument) is takes


@pytest.mark.parametrize(
    "part",
    [
        "a",
        "-",
        "://",
        "://a:",
        "eyJ-",
        "a,",
        'token="',
        "cookie:'",
        "\\",
        "password ",
        "--a ",
        "xpassword",
        "name:",
        "name:a ",
        "name:token ",
    ],
)
def test_a_long_text_takes_no_longer_than_its_length(part: str) -> None:
    text = part * (200_000 // len(part))
    begun = time.process_time()
    hide(text)
    assert time.process_time() - begun < 4.0  # 0.1 s here; what grows with the square takes a minute
