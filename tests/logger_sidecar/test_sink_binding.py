"""What Knative brings for a sink: a broker by its name, attributes, certificates, a token that is renewed."""

import asyncio
import os
import ssl
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.logger import Logger, sinks_of
from kfunc.errors import StartupError
from kfunc.logger_sidecar import sink_binding
from kfunc.logger_sidecar.contract import Refused, Retry, SinkContext
from kfunc.logger_sidecar.http_sink import HttpSink
from kfunc.logger_sidecar.sink_binding import Token, overrides
from kfunc.logger_sidecar.sinks import open_sink
from tests.logger_sidecar.broker import Broker, Fault
from tests.logger_sidecar.real_brokers import certificate
from tests.logger_sidecar.setups import events

pytestmark = pytest.mark.integration
__all__ = ["certificate"]


def sink_to(url: str, environ: dict[str, str] | None = None, **settings: Any) -> HttpSink:
    (sink,) = sinks_of(Logger(sink=url, **settings))
    made = open_sink(sink, SinkContext("f", "team", environ or {}))
    assert isinstance(made, HttpSink)
    return made


def test_a_broker_is_known_by_its_name() -> None:
    request = sink_to("broker:default")._request(events(1))
    assert request.startswith(b"POST /team/default HTTP/1.1\r\nhost: broker-ingress.knative-eventing.svc.cluster.local\r\n")


@pytest.mark.parametrize(
    ("text", "expected", "said"),
    [
        ("", {}, ""),
        ("{}", {}, ""),
        ('{"extensions":null}', {}, ""),
        ('{"extensions":{"region":"eu","a1":"x"}}', {"region": "eu", "a1": "x"}, ""),
        ('{"extensions":{"Region":"eu","ok":"x"}}', {"ok": "x"}, "names that no extension may have"),
        ('{"extensions":{"id":"1","specversion":"2","data":"x","ok":"x"}}', {"ok": "x"}, "names that no extension may have"),
        ("no json", {}, "K_CE_OVERRIDES is not read"),
        ('{"extensions":{"a":1}}', {}, "K_CE_OVERRIDES is not read"),
    ],
)
def test_the_bindings_attributes_are_read_and_what_is_wrong_is_said(
    text: str, expected: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert overrides({"K_CE_OVERRIDES": text}) == expected
    assert said in caplog.text
    assert overrides({}) == {}


def test_the_token_is_read_again_when_its_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_binding, "LOOK_EVERY_S", 0.0)
    token = Token(str(tmp_path / "token"))
    assert token.line() == b""
    (tmp_path / "token").write_text("first\n")
    assert token.line() == b"authorization: Bearer first\r\n"
    (tmp_path / "renewed").write_text("second")
    os.replace(tmp_path / "renewed", tmp_path / "token")
    assert token.line() == b"authorization: Bearer second\r\n"
    (tmp_path / "token").unlink()
    assert token.line() == b"authorization: Bearer second\r\n"


def test_a_token_with_a_line_end_in_it_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a\r\nx-evil: 1")
    assert Token(str(tmp_path / "token")).line() == b""


@pytest.mark.parametrize("mode", ["structured", "binary", "batched"])
def test_each_request_has_the_token(tmp_path: Path, mode: str) -> None:
    (tmp_path / "token").write_text("abc")

    async def main() -> Broker:
        async with Broker() as broker:
            sink = sink_to(broker.url, content_mode=mode, token_file=str(tmp_path / "token"))
            assert await sink.deliver(events(1, 2), True) == [None, None]
            await sink.close()
            return broker

    broker = asyncio.run(main())
    assert {head["authorization"] for head in broker.heads} == {"Bearer abc"}


@pytest.mark.parametrize(
    ("url", "k_sink", "is_sent"),
    [
        ("http://a.example.com/x", "http://a.example.com/x", True),
        ("broker:default", "http://broker-ingress.knative-eventing.svc.cluster.local/team/default", True),
        ("http://b.example.com/x", "http://a.example.com/x", False),
        ("http://a.example.com/x", "", False),
    ],
)
def test_the_bindings_token_goes_to_its_sink_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, k_sink: str, is_sent: bool
) -> None:
    (tmp_path / "token").write_text("abc")
    monkeypatch.setattr(sink_binding, "TOKEN_FILE", str(tmp_path / "token"))
    request = sink_to(url, {"K_SINK": k_sink})._request(events(1))
    assert (b"authorization: Bearer abc" in request) is is_sent


@pytest.mark.parametrize(("token", "outcome"), [("abc", Retry), ("", Refused)])
def test_a_sink_that_does_not_take_the_token_is_tried_again_with_a_renewed_one(
    tmp_path: Path, token: str, outcome: type
) -> None:
    (tmp_path / "token").write_text(token)

    async def main() -> Any:
        async with Broker() as broker:
            broker.fault = Fault("401")
            sink = sink_to(broker.url, token_file=str(tmp_path / "token"))
            outcomes = await sink.deliver(events(1), True)
            await sink.close()
            return outcomes

    assert [type(each) for each in asyncio.run(main())] == [outcome]


def test_an_https_sink_is_trusted_by_the_bindings_certificates_only(certificate: tuple[Path, Path]) -> None:
    async def main() -> tuple[Any, Any]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
        broker = Broker()
        server = await asyncio.start_server(broker._serve, "127.0.0.1", 0, ssl=tls)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        outcomes = []
        for environ in ({}, {"K_CA_CERTS": certificate[0].read_text()}):
            sink = sink_to(url, environ)
            outcomes.append(await sink.deliver(events(1), True))
            await sink.close()
        server.close()
        await asyncio.sleep(0.05)
        return outcomes[0], outcomes[1]

    unknown, known = asyncio.run(main())
    assert unknown == [Retry("no connection: self-signed certificate", answered=False)]
    assert known == [None]


def test_certificates_that_are_none_end_the_start() -> None:
    with pytest.raises(StartupError, match="K_CA_CERTS holds no certificates in PEM"):
        sink_to("https://127.0.0.1/", {"K_CA_CERTS": "no certificate"})


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        ("kafka://a:9092/", "has no topic after its host"),
        ("ftp://a/", "is none of file:, http:"),
        ("https//me:hush@a", '"…@a" is none of file:, http:'),
        ("broker:A", "names no broker"),
    ],
)
def test_an_address_that_can_never_work_ends_the_start_with_what_to_do(sink: str, message: str) -> None:
    with pytest.raises(StartupError, match=message):
        sink_to(sink)
