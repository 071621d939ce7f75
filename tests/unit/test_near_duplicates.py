"""Laws of what counts as the same text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tip_exchange.influence.near_duplicates import Pairs, SeenTexts, normalised
from tip_exchange.influence.records import TextRecord

TEXT = "Displaced comminuted fracture of shaft of left femur, initial encounter for closed fracture"


def added(seen: SeenTexts, owner: str, texts: list[str]) -> dict[str, Pairs]:
    return seen.add(owner, [TextRecord(text, 0) for text in texts])


def everything(texts: Sequence[str]) -> list[str]:
    return list(texts)


@pytest.mark.parametrize(
    "copy",
    [
        TEXT.upper(),
        TEXT.replace(" ", "\n\t "),
        "\ufeff" + TEXT + " ...",
        TEXT.replace("femur", "fe\u200bmur"),
        TEXT.replace("i", "\uff49"),
    ],
    ids=["case", "space", "BOM and full stops", "zero width", "full width"],
)
def test_dressed_up_copies_are_equal(copy: str) -> None:
    assert normalised(copy) == normalised(TEXT)


def test_numbers_are_rounded_so_that_a_jittered_table_row_is_the_same() -> None:
    row = "age: 41, cd4: 350.4, weight: 71.02"
    assert normalised(row) == normalised("AGE 41; cd4 350.1; weight 71,04") == "age 41 cd 4 350 weight 71"
    assert normalised("age: 42, cd4: 350.4, weight: 71.02") != normalised(row)
    assert normalised("9" * 100_000) == "inf"


def test_other_texts_are_not_equal() -> None:
    assert normalised(TEXT.replace("left", "right")) != normalised(TEXT)


@given(st.text(max_size=200))
def test_any_text_has_a_normal_form(text: str) -> None:
    words = normalised(text)
    assert words == " ".join(words.split())


def test_pairs_are_counted_by_owner_exact_and_near() -> None:
    seen = SeenTexts(everything)
    assert added(seen, "first", [TEXT, "acute kidney failure"]) == {}
    near = TEXT.replace("initial", "an initial")
    found = added(seen, "second", [TEXT.lower(), near, "burn of the right eyelid"])
    assert found["first"] == Pairs(exact=1, near=2)
    assert found["second"] == Pairs(exact=0, near=1)
    assert added(seen, "third", ["chronic pain of the lower back"]) == {}


def test_neither_a_tail_that_is_cut_off_nor_signs_that_cut_more_off_make_another_text() -> None:
    """What is compared by its whole text, or by what is read alone, misses one of the two."""
    seen = SeenTexts(lambda texts: [text[:7] for text in texts])
    added(seen, "first", ["a b c d and a tail"])
    assert added(seen, "second", ["a b c d and another tail"])["first"].exact == 1
    assert added(seen, "third", ["a , b , c , d , and a tail"])["first"].exact == 1
    assert "first" not in added(seen, "fourth", ["a , b , c , e , and a tail"])


def test_long_texts_take_bounded_memory_and_stay_comparable() -> None:
    long = " ".join(f"word{number * 7919 % 1000}" for number in range(20_000))
    seen = SeenTexts(everything)
    added(seen, "first", [long])
    assert added(seen, "second", ["one more " + long])["first"] == Pairs(exact=0, near=1)


def test_importing_it_loads_no_torch() -> None:
    script = "import sys; import tip_exchange.influence.near_duplicates; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
