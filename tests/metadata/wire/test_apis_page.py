"""docs/apis.md says what the request table and the servers say, and why an API is missing."""

from quorate.metadata.wire.api_names import API_NAMES, OWN_NAMES
from quorate.metadata.wire.table import APIS, Access
from tests.metadata.wire.apis_page import MISSING, OWN, PAGE, PER_RESOURCE, is_offered, page


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "python -m tests.metadata.wire.apis_page --rewrite"


def test_a_reason_stands_beside_each_api_that_is_missing_and_beside_no_other() -> None:
    offered = {api.name for api in APIS.values() if is_offered(api)}

    assert set(API_NAMES.values()) - offered == MISSING.keys()
    assert set(OWN_NAMES.values()) == OWN.keys()


def test_rights_that_are_asked_for_thing_by_thing_are_told() -> None:
    per_resource = {api.name for api in APIS.values() if api.access is Access.PER_RESOURCE}

    assert per_resource == PER_RESOURCE.keys()


def test_what_differs_between_brokers_and_controllers_is_told() -> None:
    differing = [api.name for api in APIS.values() if api.access_at_controllers is not api.access]

    assert all("at controllers" in PER_RESOURCE[name] for name in differing)
