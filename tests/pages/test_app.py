"""The document: what its headers forbid, and that no name becomes markup."""

import re
from pathlib import Path

import pytest

import kfunc.pages
from kfunc.config.pod import PodConfig, PodModel
from kfunc.pages.app import make_app

STATIC = Path(kfunc.pages.__file__).parent / "static"
HOSTILE = '"><script>alert(1)</script>'


def page(**settings: object) -> tuple[str, dict[str, str]]:
    answer = make_app(PodConfig(**settings)).test_client().get("/")  # type: ignore[arg-type]
    return answer.get_data(as_text=True), {name.lower(): value for name, value in answer.headers}


def test_names_are_text_whatever_is_in_them() -> None:
    text, _ = page(function=HOSTILE, namespace=HOSTILE, model=PodModel(name=HOSTILE))
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4


def test_nothing_may_run_or_load_but_what_the_function_itself_serves() -> None:
    policy = dict(part.split(maxsplit=1) for part in page()[1]["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/page/style.css", "/page/none", "/page/../app.py"])
def test_every_answer_of_the_page_has_the_headers(path: str) -> None:
    with make_app(PodConfig()).test_client().get(path) as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Security-Policy" in headers


def test_the_page_names_no_other_site_and_has_no_script_or_style_of_its_own() -> None:
    files = [*STATIC.glob("*.*"), STATIC.parent / "templates/page.html"]
    texts = {file.name: re.sub(r"http://www\.w3\.org/2000/svg", "", file.read_text()) for file in files}
    assert {name for name, text in texts.items() if re.search(r"https?://", text)} == set()
    html = texts["page.html"]
    assert not re.search(r"<style|style=|\son\w+=|<script(?! type=\"module\" src=)", html)


def test_scripts_never_write_markup() -> None:
    words = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    assert [file.name for file in STATIC.glob("*.js") if words.search(file.read_text())] == []


def test_without_v2_the_form_says_what_is_missing() -> None:
    assert "protocols: [v1, v2]" in page(protocols=["v1"])[0]
