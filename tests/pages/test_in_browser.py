"""The page in Chromium, in front of a function that runs: what a reader does, and what is seen."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages.browser import DESKTOP, PHONE, Browser
from tests.pages.serving import HOSTILE, ROOT, make_zoo, png, running
from tests.parts import program

pytestmark = pytest.mark.integration

SENT = "document.querySelector('#answer table')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program("chromium")
    state = tmp_path_factory.mktemp("zoo")
    with running(make_zoo(state / "function"), state) as base:
        yield base


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program("chromium")
    state = tmp_path_factory.mktemp("iris")
    for file in ("func.yaml", "examples/iris/model.onnx"):
        (state / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, state / file)
    with running(state, state) as base:
        yield base


def ready(browser: Browser, url: str, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> None:
    browser.open(url + "/", size, scheme)
    browser.wait_for("document.querySelector('#fields fieldset')")


def send(browser: Browser, shown: str = SENT) -> None:
    browser.evaluate("document.getElementById('answer').replaceChildren(); document.getElementById('send').click()")
    browser.wait_for(f"({shown}) || document.getElementById('problem').textContent")


def values(browser: Browser) -> dict[str, list[str]]:
    """The answer's values by output, as they are shown."""
    found: dict[str, list[str]] = json.loads(
        browser.evaluate(
            "JSON.stringify(Object.fromEntries([...document.querySelectorAll('#answer table')].map(table => "
            "[table.caption.firstChild.textContent.trim(), [...table.querySelectorAll('td')].map(cell => cell.textContent)])))"
        )
    )
    return found


def snippets(browser: Browser) -> tuple[str, str]:
    """The curl command and the Python code."""
    texts = browser.evaluate("JSON.stringify([...document.querySelectorAll('#snippets pre')].map(each => each.textContent))")
    curl, python = json.loads(texts)
    return curl, python


def test_the_form_is_made_from_the_signature_and_its_answer_is_the_models(browser: Browser, url: str) -> None:
    ready(browser, url)
    browser.evaluate("document.querySelector('#fields input').value = '9007199254740993'")
    send(browser)
    found = values(browser)
    assert found["next"] == ["9007199254740994"], "whole numbers keep their digits"
    assert found["doubled"] == ["0.199951", "0.399902"]
    assert found["mean"] == ["0", "0", "0"]


def test_the_focus_stays_where_it_was_when_a_request_is_sent(browser: Browser, url: str) -> None:
    ready(browser, url)
    browser.evaluate("document.getElementById('send').focus()")
    send(browser)
    assert browser.evaluate("document.activeElement.id") == "send"
    send(browser)
    assert browser.evaluate("document.getElementById('send').getAttribute('aria-disabled')") == "false"


def test_what_a_model_answers_is_text_and_never_markup(browser: Browser, url: str) -> None:
    ready(browser, url)
    send(browser)
    assert values(browser)["echo"] == [f"{HOSTILE} text"]
    browser.evaluate("document.querySelector('#fields input').value = '13'")
    send(browser, "document.querySelector('#answer .problem')")
    assert browser.evaluate("document.querySelector('#answer .problem').textContent") == f"{HOSTILE} 13 is no size"
    assert browser.evaluate("document.title") == "zoo – kfunc"


def test_a_picture_is_shown_as_the_model_gets_it_and_sent_as_numbers(browser: Browser, url: str, tmp_path: Path) -> None:
    ready(browser, url)
    browser.choose_file("input[accept='image/*']", png(tmp_path / "colour.png", 255, 0, 51))
    browser.wait_for("!document.querySelector('canvas').hidden")
    size = browser.evaluate("document.querySelector('canvas').width + '×' + document.querySelector('canvas').height")
    send(browser)
    assert (size, values(browser)["mean"]) == ("16×16", ["1", "0", "0.2"])


def test_what_is_no_picture_is_said_so_and_nothing_is_sent(browser: Browser, url: str, tmp_path: Path) -> None:
    ready(browser, url)
    (tmp_path / "words.png").write_text("words")
    browser.choose_file("input[accept='image/*']", tmp_path / "words.png")
    browser.wait_for("document.querySelector('.image .problem').textContent.includes('no picture')")
    send(browser)
    assert "words.png is no picture" in browser.evaluate("document.getElementById('problem').textContent")
    assert not browser.evaluate(f"Boolean({SENT})")


def test_a_field_that_is_empty_is_said_and_nothing_is_sent(browser: Browser, iris: str) -> None:
    ready(browser, iris)
    browser.evaluate("document.querySelectorAll('#fields input')[2].value = ''")
    send(browser)
    assert browser.evaluate("document.getElementById('problem').textContent") == (
        "input [2], row 1: a number is expected, the field is empty"
    )
    assert not browser.evaluate(f"Boolean({SENT})")


def test_examples_look_like_values_and_are_said_to_be_sent(browser: Browser, iris: str) -> None:
    ready(browser, iris)
    shown = "[document.querySelector('#fields .row input'), document.body].map(each => getComputedStyle(each).color)"
    field, text = json.loads(browser.evaluate(f"JSON.stringify({shown})"))
    assert field == text
    assert "are sent unless you change them" in browser.evaluate("document.querySelector('#fields .note').textContent")


def test_what_is_not_a_number_is_said_at_its_field(browser: Browser, url: str) -> None:
    ready(browser, url)
    browser.evaluate("document.querySelector('#fields input').value = '1.5'")
    send(browser)
    assert browser.evaluate("document.getElementById('problem').textContent") == (
        "size value, row 1: a whole number is expected, not “1.5”"
    )
    assert browser.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"


def test_a_request_can_be_written_as_json(browser: Browser, iris: str) -> None:
    ready(browser, iris)
    browser.evaluate("document.querySelector('[value=json]').click()")
    browser.wait_for("document.getElementById('body').value")
    body = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [6.7, 3, 5.2, 2.3]}]}
    browser.evaluate(f"document.getElementById('body').value = {json.dumps(json.dumps(body))}")
    send(browser)
    assert values(browser)["label"] == ["2"]
    assert '"label"' in curl_answer(browser)


FETCHING = """
const before = window.fetch;
let asked = 0;
window.fetch = async (path, ...more) => {
  if (String(path).endsWith("/versions/1") && ++asked) { ANSWER }
  return before(path, ...more);
};
const chosen = (value) => {
  const version = document.getElementById("version");
  version.value = value;
  version.dispatchEvent(new Event("change"));
};
"""


def choose(browser: Browser, answer: str, *versions: str) -> None:
    """Choose versions quickly; of the first one the metadata are answered as `answer` does."""
    chosen = "".join(f"chosen({json.dumps(version)});" for version in versions)
    browser.evaluate(f"{{{FETCHING.replace('ANSWER', answer)}{chosen}}} 0")


def test_of_two_quick_choices_the_last_one_counts(browser: Browser, iris: str) -> None:
    ready(browser, iris)
    choose(browser, "await new Promise((resolve) => setTimeout(resolve, 300));", "1", "")
    browser.evaluate("new Promise((resolve) => setTimeout(resolve, 600))")
    send(browser)
    assert "/versions/" not in snippets(browser)[0]


def test_a_choice_that_fails_leaves_the_form_and_what_is_chosen(browser: Browser, iris: str) -> None:
    ready(browser, iris)
    choose(browser, "throw new Error('no such luck');", "1")
    browser.wait_for("document.getElementById('problem').textContent")
    assert browser.evaluate("document.getElementById('problem').textContent") == "iris stays as it is: no such luck"
    assert browser.evaluate("document.getElementById('version').value") == ""


def test_a_request_in_json_is_of_the_model_that_was_chosen_last(browser: Browser, iris: str) -> None:
    ready(browser, iris)
    browser.evaluate("document.querySelector('[value=json]').click()")
    browser.wait_for("document.getElementById('body').value")
    browser.evaluate("document.getElementById('body').value = 'old'")
    choose(browser, "", "1")
    browser.wait_for("document.getElementById('body').value.includes('inputs')")


def test_a_number_past_all_bounds_is_said(browser: Browser, iris: str) -> None:
    ready(browser, iris)
    browser.evaluate("document.querySelector('#fields input').value = '1e400'")
    send(browser)
    assert "a smaller number is expected" in browser.evaluate("document.getElementById('problem').textContent")


def test_the_code_of_a_request_without_a_picture_opens_none(browser: Browser, url: str) -> None:
    ready(browser, url)
    send(browser)
    assert '"picture": np.zeros((1, 3, 16, 16,), np.float32)' in snippets(browser)[1]


def test_the_code_beside_the_answer_gives_the_same_answer(browser: Browser, iris: str) -> None:
    ready(browser, iris)
    browser.evaluate("[...document.querySelectorAll('#fields button')].find(each => each.textContent === 'Add a row').click()")
    send(browser)
    assert json.loads(curl_answer(browser))["outputs"][0]["data"] == [0, 0]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    code = snippets(browser)[1]
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.startswith("label [0 0]\n")


def curl_answer(browser: Browser) -> str:
    """What the command beside the answer prints."""
    return subprocess.run(["bash", "-c", snippets(browser)[0]], capture_output=True, text=True, check=True, timeout=30).stdout


def test_it_is_used_with_the_keyboard_alone(browser: Browser, iris: str) -> None:
    ready(browser, iris)
    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.className") == "skip"
    browser.press("Enter", 13, "\r")
    reached: list[str] = []
    while "Send" not in reached and len(reached) < 12:
        browser.press("Tab", 9)
        reached.append(
            browser.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")
        )
    assert reached[-6:] == [*(f"input [{at}], row 1" for at in range(4)), "Add a row", "Send"]
    browser.press("Enter", 13, "\r")
    browser.wait_for(SENT)


def test_the_charts_and_the_last_requests_follow_what_happens(browser: Browser, iris: str) -> None:
    ready(browser, iris)
    send(browser)
    browser.wait_for("document.querySelector('#recent td.mono')?.textContent === '/v2/models/iris/infer'")
    charts = "[...document.querySelectorAll('svg.chart')].map(each => each.getAttribute('aria-label')).join()"
    browser.wait_for(f"/p50 [0-9.]+ ms/.test({charts}) || (document.getElementById('send').click(), false)")
    assert [name for name in ("Inferences", "Latency", "Batch", "Events") if name not in browser.evaluate(charts)] == []


def test_a_request_opens_to_its_spans_and_stays_open_while_others_come(browser: Browser, iris: str) -> None:
    ready(browser, iris)
    send(browser)
    browser.wait_for("document.querySelector('#recent summary')")
    browser.evaluate("document.querySelector('#recent summary').focus(); document.querySelector('#recent summary').click()")
    rows = browser.evaluate("document.querySelectorAll('#recent tr').length")
    send(browser)
    browser.wait_for(f"document.querySelectorAll('#recent tr').length > {rows}")
    names = "JSON.stringify([...document.querySelectorAll('#recent [open] li')].map(each => each.firstChild.textContent))"
    shown = json.loads(browser.evaluate(names))
    assert shown[:3] == ["logger", "batcher", "handler"]
    assert {"model", "encode"} <= set(shown[3:])
    assert browser.evaluate("document.activeElement.tagName") == "SUMMARY"


# Colours are a scheme's, places a size's: two of the four show both of each.
@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"])
def test_nothing_keeps_anybody_out(browser: Browser, url: str, size: tuple[int, int], scheme: str, tmp_path: Path) -> None:
    axe = program("axe").read_text()
    ready(browser, url, size, scheme)
    send(browser)
    browser.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    browser.wait_for("document.querySelector('#recent td.mono')")
    browser.screenshot(tmp_path / "page.png")  # for a person to look at: pytest --basetemp=DIR keeps it there
    browser.evaluate(axe + ";0")
    found = browser.evaluate(
        "axe.run().then(told => JSON.stringify(told.violations.map(each => [each.id, each.nodes.map(node => node.html)])))"
    )
    assert json.loads(found) == []
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the window"
    assert browser.complaints() == []
    assert {each for each in browser.requested() if not each.startswith((url, "blob:"))} == set()


SIZES = """
import struct
import numpy as np
from kfunc import Handler, TensorSpec


class Sizes(Handler):
    takes_images = True
    inputs = [TensorSpec("image", "BYTES", [-1])]
    outputs = [TensorSpec("size", "INT64", [-1, 2])]

    def predict(self, inputs):
        return {"size": np.array([struct.unpack(">II", each[16:24]) for each in inputs["image"]])}
"""


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program("chromium")
    state = tmp_path_factory.mktemp("sizes")
    (make_zoo(state / "function") / "handler.py").write_text(SIZES)
    with running(state / "function", state) as base:
        yield base


def test_a_model_of_pictures_gets_the_chosen_file_or_one_that_is_made(browser: Browser, sizes: str, tmp_path: Path) -> None:
    ready(browser, sizes)
    send(browser)
    assert values(browser)["size"] == ["224", "224"]
    browser.choose_file("input[accept='image/*']", png(tmp_path / "colour.png", 255, 0, 51, side=40))
    browser.wait_for("!document.querySelector('img.preview').hidden")
    send(browser)
    assert values(browser)["size"] == ["40", "40"]
