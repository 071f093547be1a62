"""Strategies for any message: built from the model's own types and bounds, so that no model is forgotten."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from schemas.base import Model

INT_LIMIT = 2**53


def fields_of(model: type[Model], *, without: tuple[str, ...] = ()) -> st.SearchStrategy[dict[str, Any]]:
    """Values for the fields of a model, as its validator would take them."""
    hints = get_type_hints(model, include_extras=True)
    names = [name for name in model.model_fields if name not in without]
    return st.fixed_dictionaries({name: values_of(hints[name]) for name in names})


def values_of(hint: Any, *constraints: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return values_of(arguments[0], *(each for field in arguments[1:] for each in field.metadata), *constraints)
    if origin in (Union, UnionType):
        return st.one_of(*(st.none() if each is NoneType else values_of(each) for each in arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        least, most = bound(constraints, "min_length", 0), bound(constraints, "max_length", 4)
        return st.lists(values_of(arguments[0]), min_size=least, max_size=max(least, min(most, 4))).map(tuple)
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(bound(constraints, "ge", -INT_LIMIT), bound(constraints, "le", INT_LIMIT))
    if hint is str:
        return st.from_regex(bound(constraints, "pattern", "[a-z]{1,9}").strip("^$"), fullmatch=True, alphabet=ASCII)
    return records_of(hint)


ASCII = st.characters(max_codepoint=127)


def records_of(hint: type[Model] | type[NamedTuple]) -> st.SearchStrategy[Any]:
    """Values of a model or a named tuple."""
    if issubclass(hint, Model):
        return fields_of(hint).map(lambda fields: hint(**fields))
    hints = get_type_hints(hint, include_extras=True)
    return st.tuples(*(values_of(hints[name]) for name in hint._fields)).map(lambda values: hint(*values))


def bound(constraints: tuple[Any, ...], name: str, otherwise: Any) -> Any:
    """The value of a constraint, wherever it stands."""
    found = (getattr(each, name, None) for each in constraints)
    return next((each for each in found if each is not None), otherwise)
