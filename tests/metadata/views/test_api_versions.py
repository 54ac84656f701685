"""ApiVersions: only what works is shown, and the features of the image with its offset."""

from quorate.metadata.features import SUPPORTED
from quorate.metadata.image import MetadataImage
from quorate.metadata.views import answer_api_versions
from quorate.metadata.wire.cluster import ApiVersion, ApiVersionsResponse
from quorate.metadata.wire.table import APIS
from tests.metadata.views.small_clusters import Cluster

IMAGE = Cluster(brokers={}, topics={}).image()
METADATA, CREATE_TOPICS, DELETE_TOPICS, ELECT_LEADERS = 3, 19, 20, 43


def controller(*ranges: tuple[int, int, int]) -> ApiVersionsResponse:
    return ApiVersionsResponse(
        api_keys=tuple(ApiVersion(api_key=k, min_version=a, max_version=b) for k, a, b in ranges)
    )


def shown(answer: ApiVersionsResponse) -> dict[int, tuple[int, int]]:
    return {one.api_key: (one.min_version, one.max_version) for one in answer.api_keys}


def test_a_service_shows_what_it_serves_in_the_versions_of_the_table() -> None:
    answer = answer_api_versions(IMAGE, [CREATE_TOPICS, METADATA], kraft_version=1)
    assert list(shown(answer)) == [METADATA, CREATE_TOPICS]
    assert shown(answer)[METADATA] == (APIS[METADATA].first, APIS[METADATA].last)


def test_what_is_forwarded_is_shown_as_far_as_the_controller_goes() -> None:
    keys = [METADATA, CREATE_TOPICS, DELETE_TOPICS, ELECT_LEADERS]
    answer = answer_api_versions(
        IMAGE,
        keys,
        kraft_version=1,
        controller=controller((CREATE_TOPICS, 5, 99), (DELETE_TOPICS, 90, 99), (METADATA, 0, 0)),
    )
    assert shown(answer) == {
        METADATA: (
            APIS[METADATA].first,
            APIS[METADATA].last,
        ),  # answered here: the controller does not matter
        CREATE_TOPICS: (5, APIS[CREATE_TOPICS].last),
        # DeleteTopics has no version in common, ElectLeaders is not spoken there: both hidden
    }


def test_features_are_those_supported_here_and_finalized_at_the_image() -> None:
    answer = answer_api_versions(IMAGE, [METADATA], kraft_version=1)
    assert {f.name: (f.min_version, f.max_version) for f in answer.supported_features} == {
        name: (levels.lowest, levels.highest) for name, levels in SUPPORTED.items()
    }
    assert [(f.name, f.min_version_level, f.max_version_level) for f in answer.finalized_features] == [
        ("kraft.version", 1, 1),
        ("metadata.version", 21, 21),
    ]
    assert answer.finalized_features_epoch == IMAGE.offset


def test_before_there_is_an_image_nothing_is_finalized() -> None:
    answer = answer_api_versions(MetadataImage.EMPTY, [METADATA], kraft_version=1)
    assert (answer.finalized_features, answer.finalized_features_epoch) == ((), -1)


def test_kraft_version_0_is_not_a_finalized_feature() -> None:
    answer = answer_api_versions(IMAGE, [METADATA], kraft_version=0)
    assert [f.name for f in answer.finalized_features] == ["metadata.version"]
