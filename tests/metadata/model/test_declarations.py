"""Our declarations against Kafka's own schemas, field by field (artefacts: record-schemas.json, Kafka 4.3.1)."""

import json
import pathlib
from typing import Any

import attrs
import pytest

from quorate.metadata.records import CONTROL_RECORDS, DATA_RECORDS, UNCHANGED, ConfigRecord, Record
from quorate.metadata.records.declare import ArrayOf, DataRecord, Field, Kind, Scalar, StructOf

SCHEMAS = pathlib.Path(__file__).parents[2] / "artefacts" / "kafka" / "record-schemas.json"
BY_NAME = {schema["name"]: schema for schema in json.loads(SCHEMAS.read_text())}
SAME_STRUCT = {
    ("[]BrokerEndpoint", "[]ControllerEndpoint"),
    ("[]FeatureRange", "[]BrokerFeature"),
    ("[]FeatureRange", "[]ControllerFeature"),
    ("[]QuotaEntity", "[]EntityData"),
    ("[]LeaderChangeVoter", "[]Voter"),
    ("VersionRange", "KRaftVersionFeature"),
}
"""(ours, Kafka's) where names of structs differ."""
EVERY = [*DATA_RECORDS.values(), *CONTROL_RECORDS.values()]
KAFKAS = [made for made in EVERY if not issubclass(made, DataRecord) or made.in_kafka]
OURS = [made for made in EVERY if made not in KAFKAS]
_HIGHEST_KEY_EVER = 1_000
"""Kafka numbers its records one after the other, and is at 27."""


def kafka_name(made: type[Record]) -> str:
    return {"LeaderChangeRecord": "LeaderChangeMessage"}.get(made.__name__, made.__name__)


def test_no_record_is_missing_and_none_is_invented() -> None:
    assert sorted(map(kafka_name, KAFKAS)) == sorted(BY_NAME)


@pytest.mark.parametrize("made", OURS)
def test_a_record_of_our_own_is_far_from_kafkas(made: type[Record]) -> None:
    assert made.type_number > _HIGHEST_KEY_EVER
    assert all(field.declared.ours for field in made.fields())


@pytest.mark.parametrize("made", KAFKAS)
def test_a_record_has_kafkas_key_and_versions(made: type[Record]) -> None:
    schema = BY_NAME[kafka_name(made)]
    low, _, high = schema["validVersions"].partition("-")
    assert made.versions == (int(low), int(high or low))
    assert schema["flexibleVersions"] == "0+"
    assert schema.get("apiKey", made.type_number) == made.type_number


@pytest.mark.parametrize("made", KAFKAS)
def test_a_record_has_kafkas_fields(made: type[Record]) -> None:
    theirs = BY_NAME[kafka_name(made)]["fields"]
    if made in CONTROL_RECORDS.values():
        # Theirs begin with their own version; ours have it like every record.
        assert theirs[0]["name"] == "Version"
        theirs = theirs[1:]
    check_fields(made.fields(), theirs)


def check_fields(ours: tuple[Field, ...], theirs: list[dict[str, Any]]) -> None:
    shared = [f for f in ours if not f.declared.ours]
    assert [f.kafka_name for f in shared] == [f["name"] for f in theirs]
    for our, their in zip(shared, theirs, strict=True):
        check_field(our, their)


def check_field(our: Field, their: dict[str, Any]) -> None:
    declared = our.declared
    types = (kafka_type(our), their["type"])
    assert types[0] == types[1] or types in SAME_STRUCT
    assert f"{declared.since}+" == their["versions"]
    assert declared.nullable == ("nullableVersions" in their)
    assert declared.tag == their.get("tag")
    assert their.get("taggedVersions") == (None if declared.tag is None else f"{declared.since}+")
    if declared.tag is not None:
        assert kafka_default(our) == their.get("default", default_of(their["type"]))
    inner = declared.kind.item if isinstance(declared.kind, ArrayOf) else declared.kind
    if isinstance(inner, StructOf):
        check_fields(inner.fields, their["fields"])


def kafka_type(field: Field) -> str:
    if field.declared.codes is not None:
        return "int8"
    return type_name(field.declared.kind)


def type_name(kind: Kind) -> str:
    match kind:
        case Scalar():
            return kind.value
        case ArrayOf(item=item):
            return f"[]{type_name(item)}"
        case StructOf():
            return kind.struct.__name__


def kafka_default(field: Field) -> str:
    """What an absent tagged field means to Kafka, as its schema writes it."""
    declared = field.declared
    if declared.empty_is_null or (declared.nullable and field.default in (None, UNCHANGED)):
        return "null"
    if field.default is UNCHANGED:
        return "[]" if declared.unchanged is None else str(declared.unchanged)
    return "[]" if field.default == () else str(field.default)


def default_of(kafka_type_name: str) -> str:
    return "[]" if kafka_type_name.startswith("[]") else "0"


@pytest.mark.parametrize("made", EVERY)
def test_a_sentence_says_what_each_field_is(made: type[Record]) -> None:
    assert made.__doc__
    for field in made.fields():
        assert field.declared.about.endswith("."), field.name


@pytest.mark.parametrize("made", EVERY)
def test_every_attribute_is_declared(made: type[Record]) -> None:
    assert [a.name for a in attrs.fields(made)] == ["version", *(f.name for f in made.fields())]


def test_data_and_control_records_never_share_a_number() -> None:
    numbers = [made.type_number for made in EVERY]
    assert len(set(numbers)) == len(numbers)
    assert all(made.type_number < 0 for made in CONTROL_RECORDS.values())
    assert all(made.type_number >= 0 for made in DATA_RECORDS.values())


def test_unchanged_is_no_answer_to_yes_or_no() -> None:
    with pytest.raises(TypeError, match="is UNCHANGED"):
        bool(UNCHANGED)
    assert repr(UNCHANGED) == "UNCHANGED"


def test_a_record_prints_as_the_python_that_makes_it() -> None:
    record = ConfigRecord(resource_type=2, resource_name="t", name="k", value=None)
    assert eval(repr(record)) == record
