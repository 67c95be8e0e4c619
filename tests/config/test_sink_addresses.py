"""Addresses of sinks: their parts, and what is wrong with those that are none."""

import re

import pytest

from kfunc.config.logger import Logger, SinkSettings
from kfunc.config.sink_addresses import KINDS, SinkAddress, SinkFault, parse_sink, sink_variables

READ = {
    "http://a:80/b?c=d": SinkAddress("http", "a:80", "/b", "c=d"),
    "https://a": SinkAddress("https", "a", "/"),
    "file:a%20b.jsonl": SinkAddress("file", path="a b.jsonl"),
    "broker:default": SinkAddress("broker", path="team/default"),
    "broker:other/default": SinkAddress("broker", path="other/default"),
    "nats://a:4222,b:4222/x.y": SinkAddress("nats", "a:4222,b:4222", "x.y"),
    "nats://a/x?stream=S&tls=true": SinkAddress("nats", "a", "x", options={"stream": "S", "tls": "true"}),
    "kafka://a:9092/t?sasl=PLAIN": SinkAddress("kafka", "a:9092", "t", options={"sasl": "PLAIN"}),
    "amqp://a?queue=q": SinkAddress("amqp", "a", "/", options={"queue": "q"}),
    "amqp://a/%2Fv?exchange=e&routing_key=k": SinkAddress("amqp", "a", "/v", options={"exchange": "e", "routing_key": "k"}),
    "s3://bucket/a/b/": SinkAddress("s3", "bucket", "a/b"),
    "gs://bucket": SinkAddress("gs", "bucket"),
    "nats://me:s%40@a/x": SinkAddress("nats", "a", "x", user="me", password="s@"),  # noqa: S106
}


@pytest.mark.parametrize(("text", "address"), READ.items(), ids=READ)
def test_an_address_is_read_in_its_parts(text: str, address: SinkAddress) -> None:
    assert parse_sink(text, "team") == address


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_example_of_each_kind_is_one(kind: object) -> None:
    assert parse_sink(kind.example)  # type: ignore[attr-defined]


WRONG = {
    "": "is no sink; a sink begins with http:",
    "broker": "is no sink",
    "kafak://a/t": 'is no sink; did you mean "kafka://kafka.messaging:9092/kfunc-events"?',
    "file:": "expected a file on this machine",
    "broker:": "names no broker; write",
    "broker:a/b_c": "names no broker",
    "broker:UPPER": "names no broker",
    "http://": "has no host, or a wrong port",
    "http://a:99999/": "has no host, or a wrong port",
    "http://broker..svc/n/b": "has a host with a part that is empty or above 63 letters; write it like",
    f"https://{'a' * 64}.example/": "has a host with a part that is empty",
    "http://bücher/": "is not ASCII",
    "http://a/\n": "no spaces and control characters",
    "nats://a": "has no subject after its host",
    "nats://a/x.*": "has no subject after its host, or one with wrong characters",
    "nats://a/x?streem=S": "has no option 'streem'; known are stream, tls",
    "nats://a/x?tls=yes": "option tls cannot be 'yes'; write true or false",
    "nats://a,/x": "has no host",
    "kafka://a/": "has no topic",
    "kafka://a/t?sasl=GSSAPI": "option sasl cannot be 'GSSAPI'; write PLAIN or SCRAM-SHA-256 or SCRAM-SHA-512",
    "amqp://a": "needs either a queue or an exchange",
    "amqp://a?queue=q&exchange=e": "needs either a queue or an exchange",
    "amqp://a?queue=": "option queue cannot be ''; write a name",
    "s3://": "has no host",
    "s3://bucket:80/": "has no host, or a wrong port",
    "s3://bucket/a?format=parquet": "has no option 'format'; remove what stands behind the ?",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items(), ids=WRONG)
def test_what_is_no_address_is_told_with_what_to_do(text: str, message: str) -> None:
    with pytest.raises(SinkFault) as raised:
        parse_sink(text)
    assert message in str(raised.value)
    assert raised.value.suggestion


@pytest.mark.parametrize(
    "text",
    [
        "ftp://me:hush@a/x",
        "nats://me:hush@a",
        "s3://me:hush@b:80/x",
        "http://me:hu/sh@a:0/",
        "nats://me:hush@a b",
        "broker:me:hush@a",
        "nats://me:\nhush@a",
    ],
)
def test_what_is_wrong_with_an_address_is_told_without_its_password(text: str) -> None:
    with pytest.raises(SinkFault) as raised:
        parse_sink(text)
    assert not re.search("hush|hu/sh", str(raised.value))


def test_the_logger_gets_the_credentials_of_its_sinks_and_no_others() -> None:
    logger = Logger(
        sink="kafka://a:9092/t", sinks=[SinkSettings(to="s3://b", format="parquet", dead_letter="file:x")], overflow="gs://b"
    )
    assert sink_variables(logger) == ("AWS_", "GOOGLE_", "KAFKA_")
