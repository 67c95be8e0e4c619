"""Nothing of a document may hide from those who look for what must not be in it."""

from kfunc.handlers.nested_strings import nested_strings


def test_every_string_is_given_with_the_key_that_it_stands_under() -> None:
    document = {"a": "1", "b": [{"c": "2"}, "3", 4, None], "d": {"e": ["5"]}}
    assert sorted(nested_strings(document)) == [("a", "1"), ("b", "3"), ("c", "2"), ("e", "5")]


def test_a_document_of_any_depth_is_walked() -> None:
    deep: object = "inside"
    for _ in range(100_000):
        deep = [deep]
    assert list(nested_strings(deep)) == [("", "inside")]
