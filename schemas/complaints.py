"""What is wrong with a request's form, in words: the patterns of `ids` and `money` are not for people."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from schemas import ids
from schemas.money import DecimalString


def pattern_of(kind: Any) -> str:
    """Returns the pattern of an annotated string."""
    return next(part.pattern for field in get_args(kind)[1:] for part in field.metadata if hasattr(part, "pattern"))


FORMS = {
    pattern_of(kind): words
    for kind, words in (
        (ids.Identifier, "1 to 64 letters, digits or . _ : -"),
        (ids.ClientOrderId, "1 to 64 letters, digits or . _ : / + = @ -"),
        (ids.Asset, "an asset like CNY"),
        (ids.Grade, "a grade like H100SXM80"),
        (ids.Hub, "a hub like CNE"),
        (ids.Product, "a product like H100SXM80.CNE.F"),
        (ids.Contract, "a contract like H100SXM80.CNE.F-26112213"),
        (ids.Digest, "64 hex digits"),
        (ids.Signature, "128 hex digits"),
        (ids.GpuUuid, "a GPU's UUID like GPU-6d2f1c3a-…"),
        (DecimalString, "a decimal number with at most six decimals, like 12.84"),
    )
}


# What pydantic says of a body that is no object at all, or that was not sent as JSON.
NO_OBJECT = frozenset({"model_attributes_type", "model_type", "dict_type"})
ERRORS_TOLD_MAX = 5


def in_words(errors: Iterable[Mapping[str, Any]], skip: int = 0) -> str:
    """Puts pydantic's errors into one line, each after the member it is about; `skip` leaves out where it stood.

    Many errors are counted rather than told, so that no answer is longer than its question.
    """
    errors = list(errors)
    told = [_one_in_words(error, ".".join(map(str, error["loc"][skip:]))) for error in errors[:ERRORS_TOLD_MAX]]
    return "; ".join(told + [f"and {len(errors) - len(told)} more"] * (len(errors) > len(told)))


def _one_in_words(error: Mapping[str, Any], member: str) -> str:
    if member:
        return f"{member}: {complaint(error)}"
    return "should be a JSON object, sent as application/json" if error["type"] in NO_OBJECT else complaint(error)


def complaint(error: Mapping[str, Any]) -> str:
    """Says what one error is about."""
    form = FORMS.get(error.get("ctx", {}).get("pattern", ""))
    return f"should be {form}" if form else error["msg"].removeprefix("Value error, ")
