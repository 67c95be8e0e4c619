"""The site's sources: the reference is complete, and links lead somewhere."""

import json
import re
from pathlib import Path

import pytest

from docs.site import build, events
from kfunc.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site's sources, written once."""
    folder = tmp_path_factory.mktemp("site")
    build.write_sources(folder)
    return folder


def reference(site: Path, name: str) -> str:
    """A page that is made from the code."""
    return (site / "reference" / f"{name}.md").read_text()


def test_the_reference_has_the_help_of_every_command(site: Path) -> None:
    page = reference(site, "commands")
    assert [name for name in COMMANDS if f"Usage: kfunc {name}" not in page] == []
    assert "Usage: kfunc events tail" in page


@pytest.mark.parametrize(
    "row",
    [
        "| `uri` | string | *required* |",
        "| `max_batch_size` | integer ≥ 1 or `auto` | `32` |",
        "| `page` | `auto`, `everyone`, `local`, `none` | `auto` |",
    ],
)
def test_the_reference_has_every_field_with_type_and_default(site: Path, row: str) -> None:
    assert row in reference(site, "func-yaml")


def test_every_block_of_func_yaml_has_a_table(site: Path) -> None:
    titles = set(re.findall(r"^## (.*)$", reference(site, "func-yaml"), re.MULTILINE))
    assert {"The file", "inference", "inference.model", "inference.batcher", "inference.logger", "inference.limits"} <= titles


def test_every_metric_that_the_code_names_is_in_the_reference(site: Path) -> None:
    page = reference(site, "metrics")
    texts = [
        file.read_text()
        for folder in ("handlers", "batcher_sidecar", "logger_sidecar", "telemetry", "process")
        for file in (ROOT / "kfunc" / folder).rglob("*.py")
    ]
    named = {
        name for text in texts for name in re.findall(r'"(kfunc_[a-z_]+(?:_total|_seconds|_bytes|_ratio|_size|_rows))"', text)
    }
    assert {name for name in named if f"| `{name}` |" not in page} == set()


@pytest.mark.parametrize(
    "row",
    [
        "| `kfunc_requests_total` | counter | all | `code` | Requests by status,",
        "| `kfunc_model_compute_seconds` | histogram | handler | `model`, `version` | Time in the model's own code. |",
        "| `kfunc_model_accelerator` | gauge | handler | `model`, `version`, `accelerator`, `device` |",
        "| `kfunc_model_loads_total` | counter | handler | `model`, `version` | Loads of a model. |",
        "| `kfunc_gpu_utilization_ratio` | gauge | handler | `gpu`, `device`, `uuid` |",
        "| `kfunc_events_dropped_total` | counter | logger | `reason` |",
        "| `kfunc_batch_queue_length` | gauge | batcher |  | Requests that wait for a batch. |",
    ],
)
def test_a_metric_has_its_kind_labels_and_words(site: Path, row: str) -> None:
    assert row in reference(site, "metrics")


def test_every_field_of_func_yaml_has_words_and_every_block_of_inference_a_sentence(site: Path) -> None:
    page = reference(site, "func-yaml")
    assert [row for row in page.splitlines() if row.startswith("| `") and row.endswith("|  |")] == []
    blocks = dict(re.findall(r"^## (inference\S*)\n\n(.*)$", page, re.MULTILINE))
    assert [name for name, first in blocks.items() if first.startswith("|")] == []
    for block in "batcher", "gpu", "server", "traffic", "telemetry":
        assert "absent:" in blocks[f"inference.{block}"].lower()


def test_every_attribute_of_an_event_is_explained(site: Path) -> None:
    usual = {name for compat in ("none", "kserve") for document in events.samples(compat) for name in document}
    unusual = {name for compat in ("none", "kserve") for each in events.samples(compat, usual=False) for name in each}
    assert (usual | unusual) - events.MEANINGS.keys() == {"data_base64"}
    page = reference(site, "events")
    assert [name for name in events.MEANINGS if f"| `{name}` |" not in page] == []
    assert "io.kfunc.inference.response" in page
    assert "org.kubeflow.serving.inference.request" in page


def test_every_page_is_in_the_navigation_by_its_title(site: Path) -> None:
    told = json.dumps(build.nav(site))
    pages = [page.relative_to(site).as_posix() for page in site.rglob("*.md")]
    assert [page for page in pages if f': "{page}"' not in told] == []
    assert '{"The page of a function": "page.md"}' in told


def test_links_lead_to_pages_and_places_that_there_are(site: Path) -> None:
    broken = []
    for page in site.rglob("*.md"):
        for path in re.findall(r"\]\((?!https?://)([^)#\s]+)", page.read_text()):
            if not (page.parent / path).exists():
                broken.append(f"{page.name}: {path}")
    assert broken == []


def test_links_to_the_repository_become_words() -> None:
    assert build.rewritten("[figures](../bench/README.md#x) [a](logger.md) [b](../README.md#c)", "docs/") == (
        "figures (`bench/README.md` in the repository) [a](logger.md) [b](index.md#c)"
    )


def test_making_the_site_says_how_to_look_at_it() -> None:
    """From files its search finds nothing."""
    recipe = (ROOT / "Makefile").read_text().partition("\ndocs:")[2].partition("\n\n")[0]
    assert "python3 -m http.server -d build/docs" in recipe.splitlines()[-1]
