"""Every message of the table in every version, and Hypothesis values of them."""

import string
import uuid
from typing import Any

from hypothesis import strategies as st

from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire.convert import StructPlan, WireField, message_plan
from quorate.metadata.wire.table import APIS

MESSAGES = [
    (api, version, is_request)
    for api in APIS.values()
    for version in range(api.first, api.last + 1)
    for is_request in (True, False)
]
IDS = [
    f"{api.name}-v{version}-{'request' if is_request else 'response'}"
    for api, version, is_request in MESSAGES
]

_NUMBERS = {
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint16": (0, 2**16 - 1),
    "timedelta_i32": (-(2**31), 2**31 - 1),
    "datetime_i64": (0, 2**42),  # as for the next one, in microseconds
    "timedelta_i64": (
        -(2**50),
        2**50,
    ),  # kio counts in seconds as floats, which hold no more to the millisecond
}
_TEXT = st.text(alphabet=string.ascii_letters + ".-_é日", max_size=20)


def values(api: Any, version: int, *, is_request: bool) -> st.SearchStrategy[Any]:
    """Values that say only what this version can say."""
    return _struct(message_plan(api.request if is_request else api.response, version, is_request=is_request))


def _struct(plan: StructPlan) -> st.SearchStrategy[Any]:
    parts = {field.name: _field(field) for field in (*plan.fields, *plan.tagged)}
    return st.builds(plan.value_class, **parts)


def _field(field: WireField) -> st.SearchStrategy[Any]:
    if field.nested is not None:
        one = _struct(field.nested)
    elif field.kind in _NUMBERS:
        one = st.integers(*_NUMBERS[field.kind])
    else:
        one = {
            "string": _TEXT,
            "bool": st.booleans(),
            "uuid": st.integers(0, 2**128 - 1).map(lambda number: uuid.UUID(int=number)),
            "bytes": st.binary(max_size=200),
            "records": st.binary(max_size=200),
            "error_code": st.sampled_from(ErrorCode),
            "float64": st.floats(allow_nan=False),  # a NaN is not equal to itself
        }[field.kind]
    if field.is_array:
        one = st.lists(one, max_size=3).map(tuple)
    if field.nullable:
        one = st.none() | one
    return one if field.old_form is None else one.map(field.old_form.read)
