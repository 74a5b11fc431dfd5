"""What goes into `/v1` and comes out: JSON in camelCase, nothing unknown, moments in RFC 3339."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

from server.domain.policy.environments import Environment

_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

_TEXT: Final = r"^[^\u0000-\u001f\u007f-\u009f]*$"

Item = TypeVar("Item")


def _is_text(value: str) -> str:
    """Refuses what neither database nor page can hold: control characters and halves of characters."""
    if any(ord(each) < 32 or 0x7F <= ord(each) < 0xA0 or 0xD800 <= ord(each) < 0xE000 for each in value):
        raise ValueError("has a control character in it")
    return value


def _is_digits(value: Any) -> Any:
    """Refuses the many other spellings of a number that would be read as one."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) < 10):
        raise ValueError("is no whole number")
    return value


def _is_moment(value: Any) -> Any:
    """Refuses the many other things that would be read as a moment, numbers among them (RFC 3339 §5.6)."""
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("is no moment such as 2026-11-22T18:30:00Z")
    return value


def _is_near(value: datetime) -> datetime:
    """Refuses what calendars and databases disagree about."""
    if not 1970 <= value.year <= 2999:
        raise ValueError("is too long ago or too far ahead")
    return value


Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_is_moment), AfterValidator(_is_near)]
Count = Annotated[int, BeforeValidator(_is_digits)]
Text = Annotated[str, AfterValidator(_is_text), Field(json_schema_extra={"pattern": _TEXT})]
#: What may be left out and is never null.
Unsaid = SkipJsonSchema[None]
#: One line for people.
Name = Annotated[Text, Field(min_length=1, max_length=100)]
Sentences = Annotated[Text, Field(max_length=500)]


class Document(BaseModel):
    """One JSON object of the API."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
        # A number is no text and a text no number: what was meant is not guessed.
        strict=True,
    )

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """`Page[ApiKey]` is called `ApiKeyPage`."""
        return "".join(each.__name__ for each in params) + cls.__name__


class Body(Document):
    """What is sent: members by their names in JSON only."""

    model_config = ConfigDict(validate_by_name=False)


class Query(Document):
    """The parameters of the query, all of them text on the wire."""

    model_config = ConfigDict(strict=False, validate_by_name=False)


class Page(Document, Generic[Item]):
    """Some of many."""

    data: list[Item]
    next_cursor: str | None = Field(
        default=None, description="Send it as `cursor` to get the next ones; `null` after the last."
    )


class InEnvironment(Query):
    """Of which of the two worlds; a key or client belongs to one and sees no other."""

    environment: Environment | None = Field(
        default=None, description="`live` (the default) or `test`, for people; a key or client has its own."
    )


class PageQuery(Query):
    """Where to begin, and how many."""

    limit: Count = Field(default=50, ge=1, le=100, description="How many at most.")
    cursor: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        default=None, description="`nextCursor` of the answer before."
    )


class EnvironmentPageQuery(PageQuery, InEnvironment):
    """The same in one environment."""


class ErrorAnswer(Document):
    """What went wrong."""

    error: str = Field(
        description="`unauthorized`, `forbidden`, `rate_limited`, `not_found`, `conflict`, `invalid_request`, "
        "`temporarily_unavailable` or `server_error`."
    )
    message: str = Field(description="A sentence for whoever reads it.")
    request_id: str = Field(
        alias="request_id", description="The same as in the `X-Request-ID` header and in the server's log."
    )
