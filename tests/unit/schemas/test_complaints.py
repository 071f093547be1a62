"""What is wrong with a form is said in words, after the member that it is about, and at no length."""

import json

import pytest
from pydantic import ValidationError

from schemas.complaints import in_words
from schemas.listings import ListingForm, ReasonForm

OFFER = {"kind": "module", "title": "H100", "hub": "CNE", "price": "1", "currency": "CNY", "inspection_id": "0" * 64}


def complaint_about(document: object, model=ListingForm) -> str:
    with pytest.raises(ValidationError) as refused:
        model.model_validate_json(json.dumps(document))
    return in_words(refused.value.errors())


def test_a_body_that_is_no_object_is_told_what_it_should_be():
    words = "should be a JSON object, sent as application/json"
    assert {complaint_about(document) for document in ([1], "text", 7, None)} == {words}


def test_ten_thousand_errors_are_counted_rather_than_told():
    told = complaint_about({str(number): 1 for number in range(10_000)}, ReasonForm)
    assert told.endswith("; and 9996 more")
    assert len(told) < 300


def test_a_member_is_named_with_what_it_should_be():
    assert complaint_about(OFFER | {"hub": "x", "price": "1e3"}) == (
        "hub: should be a hub like CNE; price: should be a decimal number with at most six decimals, like 12.84"
    )


@pytest.mark.parametrize(
    "text",
    [
        *("a\tb", "a\nb", "a\u2028b", "a\u2029b"),
        *("\u202egnp", "a\u200bb", "\ufeffa", "a\u2066b", "a\u00adb", "a\ue000b", "a\uffffb"),
    ],
)
def test_words_that_others_read_are_one_line_without_what_cannot_be_seen(text):  # L13
    assert complaint_about(OFFER | {"title": text}) == "title: should be one line without invisible characters"
    assert complaint_about({"reason": text}, ReasonForm) == "reason: should be one line without invisible characters"


@pytest.mark.parametrize("text", [" ", "   ", "\u3000", "-", "…", "😀"])
def test_words_have_a_letter_or_a_digit(text):
    assert complaint_about({"reason": text}, ReasonForm) == "reason: should have a letter or a digit"


@pytest.mark.parametrize("text", ["2 × H100 SXM5 80 GB", "上海机房 8 卡", "größer als – 'neu' 😀", "<b>x</b>"])
def test_every_languages_words_are_words(text):
    assert ReasonForm(reason=text).reason == text
