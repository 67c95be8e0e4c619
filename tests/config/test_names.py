"""Names as Kubernetes and registries want them."""

import pytest

from kfunc.config.names import IMAGE, REGISTRY, is_label, is_service_name, is_subdomain, service_name


@pytest.mark.parametrize("name", ["a", "iris", "iris-2", "a" * 63])
def test_a_service_name_is_a_label_that_starts_with_a_letter(name: str) -> None:
    assert is_service_name(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "1a", "a" * 64, "a\n", "ä"])
def test_other_names_are_no_service_names(name: str) -> None:
    assert not is_service_name(name)


def test_a_namespace_may_start_with_a_digit() -> None:
    assert is_label("1a")


@pytest.mark.parametrize(("name", "valid"), [("a.b-c.d", True), ("a..b", False), (".a", False), ("a" * 254, False)])
def test_a_subdomain_is_labels_with_single_dots(name: str, valid: bool) -> None:
    assert is_subdomain(name) is valid


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Iris Model", "iris-model"),
        ("iris_v2.1", "iris-v2-1"),
        ("2nd", "f-2nd"),
        ("--x--", "x"),
        ("日本", "function"),
        ("", "function"),
        ("a" * 53 + "-b", "a" * 53),
    ],
)
def test_any_text_has_a_nearest_service_name(text: str, name: str) -> None:
    assert service_name(text) == name
    assert is_service_name(service_name(text))


@pytest.mark.parametrize(
    "image",
    [
        "iris",
        "team/iris",
        "registry.example.com/team/iris:1",
        "localhost:5000/iris",
        "[::1]:5000/iris",
        "a/b@sha256:" + "0" * 64,
        "a__b/c--d.e:T_1",
    ],
)
def test_references_to_images_are_accepted(image: str) -> None:
    assert IMAGE.fullmatch(image)


@pytest.mark.parametrize(
    "image", ["", "A/b/C", "a b", "a:", "a@sha256:0", "https://a/b", "a//b", "a\nb", "$(id)", "a;b", "-a", "a/"]
)
def test_other_text_is_no_reference_to_an_image(image: str) -> None:
    assert not IMAGE.fullmatch(image)


@pytest.mark.parametrize("registry", ["docker.io/team", "registry.example.com:5000/", "localhost:5000/a/b", "[::1]:5000"])
def test_registries_are_accepted(registry: str) -> None:
    assert REGISTRY.fullmatch(registry)
