"""Requests that aiokafka's admin client does not have: logins, and rights by the list instead of one by one."""

from typing import NamedTuple

from aiokafka.protocol.admin import (
    CreateAclsRequest_v1,
    DeleteAclsRequest_v1,
    DescribeAclsRequest_v1,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

ANY = 1
TOPIC, GROUP = 2, 3
LITERAL, PREFIXED = 3, 4
READ, WRITE = 3, 4
ALLOW = 3
EVERYWHERE = "*"


class Right(NamedTuple):
    """One entry of the broker's access list, in the order of the protocol's fields."""

    kind: int
    name: str
    pattern: int
    principal: str
    host: str
    operation: int
    permission: int


class AlterScramCredentialsResponse_v0(Response):
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class AlterScramCredentialsRequest_v0(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = AlterScramCredentialsResponse_v0
    SCHEMA = Schema(
        (
            "deletions",
            CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields)),
        ),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class AlterScramCredentials(Request[AlterScramCredentialsRequest_v0]):
    """Sets passwords, each as (user, mechanism, iterations, salt, salted password, tags)."""

    API_KEY = 51

    def __init__(self, credentials: list[tuple[str, int, int, bytes, bytes, dict[int, bytes]]]) -> None:
        self._credentials = credentials

    def build(self, request_struct_class: type[AlterScramCredentialsRequest_v0]) -> AlterScramCredentialsRequest_v0:
        return request_struct_class([], self._credentials, {})


class DescribeRights(Request[DescribeAclsRequest_v1]):
    """Asks for every entry of the access list."""

    API_KEY = 29

    def build(self, request_struct_class: type[DescribeAclsRequest_v1]) -> DescribeAclsRequest_v1:
        return request_struct_class(ANY, None, ANY, None, None, ANY, ANY)


class CreateRights(Request[CreateAclsRequest_v1]):
    """Adds entries to the access list."""

    API_KEY = 30

    def __init__(self, rights: list[Right]) -> None:
        self._rights = rights

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        return request_struct_class(self._rights)


class DeleteRights(Request[DeleteAclsRequest_v1]):
    """Removes entries from the access list."""

    API_KEY = 31

    def __init__(self, rights: list[Right]) -> None:
        self._rights = rights

    def build(self, request_struct_class: type[DeleteAclsRequest_v1]) -> DeleteAclsRequest_v1:
        return request_struct_class(self._rights)
