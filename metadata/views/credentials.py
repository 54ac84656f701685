"""The answer to DescribeUserScramCredentials (KIP-554): mechanisms and iterations, never a key."""

from collections import Counter

from quorate.metadata.checks import ErrorCode
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.wire.credentials import (
    CredentialInfo,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
)


def answer_user_scram_credentials(
    image: MetadataImage, request: DescribeUserScramCredentialsRequest
) -> DescribeUserScramCredentialsResponse:
    """One result for each user that was asked for; for each that there is, where none was named."""
    if not request.users:
        return DescribeUserScramCredentialsResponse(
            results=tuple(_result(image, user) for user in image.credentials.users())
        )
    counts = Counter(user.name for user in request.users)
    return DescribeUserScramCredentialsResponse(
        results=tuple(
            _result(image, user)
            if count == 1
            else DescribeUserScramCredentialsResult(
                user=user,
                error_code=ErrorCode.duplicate_resource,
                error_message=f"Cannot describe SCRAM credentials for the same user twice in one request: {user}",
            )
            for user, count in counts.items()
        )
    )


def _result(image: MetadataImage, user: str) -> DescribeUserScramCredentialsResult:
    found = image.credentials.mechanisms_of(user)
    if not found:
        return DescribeUserScramCredentialsResult(
            user=user,
            error_code=ErrorCode.resource_not_found,
            error_message=f"Attempt to describe a user credential that does not exist: {user}",
        )
    return DescribeUserScramCredentialsResult(
        user=user,
        credential_infos=tuple(
            CredentialInfo(mechanism=mechanism, iterations=found[mechanism].iterations)
            for mechanism in sorted(found)
        ),
    )
