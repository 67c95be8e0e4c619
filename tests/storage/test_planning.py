"""Which parts are missing, what a journal remembers, and which models leave a full cache."""

import pytest

from kfunc.storage import planning
from kfunc.storage.contract import UNKNOWN, RemoteFile
from kfunc.storage.eviction import Kept, evict
from kfunc.storage.planning import Head, Part

FILES = [RemoteFile("small", 3), RemoteFile("large", 25), RemoteFile("empty", 0)]
HEAD = Head(FILES, 10, "boot-1")


def test_a_file_is_read_in_parts_the_largest_file_first() -> None:
    assert planning.plan(FILES, [], 10) == [Part(1, 0, 10), Part(1, 10, 20), Part(1, 20, 25), Part(0, 0, 3)]


def test_what_is_there_is_not_planned_again() -> None:
    assert planning.plan(FILES, [Part(1, 10, 20), Part(0, 0, 3)], 10) == [Part(1, 0, 10), Part(1, 20, 25)]


def test_a_file_of_unknown_size_comes_in_one_piece() -> None:
    assert planning.plan([RemoteFile("stream", UNKNOWN)], [], 10) == [Part(0, 0, UNKNOWN)]


def test_a_journal_remembers_its_parts() -> None:
    text = planning.first_line(HEAD) + planning.line(Part(1, 0, 10)) + planning.line(Part(0, 0, 3))
    assert planning.read(text, HEAD) == [Part(1, 0, 10), Part(0, 0, 3)]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"noise\n",
        planning.first_line(Head(FILES, 10, "boot-2")),
        planning.first_line(Head(FILES[:1], 10, "boot-1")),
        planning.first_line(Head(FILES, 20, "boot-1")),
        planning.first_line(HEAD)[:-1],
        planning.first_line(HEAD) + b"noise\n",
    ],
)
def test_the_journal_of_another_download_counts_for_nothing(text: bytes) -> None:
    assert planning.read(text, HEAD) is None


def test_a_line_that_was_cut_off_and_a_part_that_is_none_do_not_count() -> None:
    text = (
        planning.first_line(HEAD)
        + planning.line(Part(1, 5, 10))
        + planning.line(Part(9, 0, 10))
        + planning.line(Part(1, 0, 10))[:-1]
    )
    assert planning.read(text, HEAD) == []


def test_pauses_grow_up_to_a_bound() -> None:
    pauses = [planning.pause_s(failures) for failures in range(1, 9)]
    assert (pauses[:3], pauses[-1]) == ([0.2, 0.4, 0.8], 5.0)


KEPT = [Kept("new", 10, 3.0), Kept("old", 10, 1.0), Kept("middle", 10, 2.0)]


def evicted(needed: int, in_use: str = "") -> list[str]:
    removed: list[str] = []

    def remove(each: Kept) -> bool:
        if each.key != in_use:
            removed.append(each.key)
        return each.key != in_use

    evict(KEPT, needed, 40, remove)
    return removed


@pytest.mark.parametrize(
    ("needed", "gone"), [(0, []), (10, []), (11, ["old"]), (21, ["old", "middle"]), (100, ["old", "middle", "new"])]
)
def test_the_least_recently_used_goes_first_and_only_as_far_as_needed(needed: int, gone: list[str]) -> None:
    assert evicted(needed) == gone


def test_what_cannot_be_removed_frees_nothing_so_that_the_next_one_goes() -> None:
    assert evicted(11, in_use="old") == ["middle"]
