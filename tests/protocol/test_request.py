"""Requests as the protocol sees them: each parameter once, strictly decoded, from one place."""

import pytest
from authlib.oauth2 import OAuth2Request

from server.protocol.errors import InvalidRequest
from server.protocol.request import Parameters, ProtocolRequest
from tests.support.application import Gatepost


@pytest.mark.parametrize(
    ("encoded", "values"),
    [
        ("", {}),
        ("a=b", {"a": ["b"]}),
        ("a=b&a=c", {"a": ["b", "c"]}),
        ("a=&b=c", {"b": ["c"]}),
        ("a", {}),
        ("=x", {"": ["x"]}),
        ("a=%20+%2B", {"a": ["  +"]}),
        ("a=b;c=d", {"a": ["b;c=d"]}),
        ("a=%c3%a9é", {"a": ["éé"]}),
        ("a=%", {"a": ["%"]}),
        ("a=%zz", {"a": ["%zz"]}),
        ("a=b=c", {"a": ["b=c"]}),
    ],
)
@pytest.mark.spec("RFC 6749 §3.1", "RFC 6749 Appendix B")
def test_parameters_are_decoded_and_empty_ones_left_out_when_read(encoded: str, values: dict[str, list[str]]) -> None:
    parameters = Parameters.decode(encoded)
    assert parameters.datalist == values
    assert parameters.data == {name: found[0] for name, found in values.items()}
    assert parameters.get("a") == values.get("a", [None])[0]
    assert parameters.is_repeated("a") is (len(values.get("a", [])) > 1)


@pytest.mark.parametrize("encoded", ["a=%ff", "a=%c3%28", "%ff=a", "a=%ed%a0%80", "&".join(["a=b"] * 101)])
def test_parameters_are_refused_when_they_cannot_be_decoded_or_are_too_many(encoded: str) -> None:
    with pytest.raises(InvalidRequest):
        Parameters.decode(encoded)


@pytest.mark.spec("RFC 6749 §3.1", "RFC 8707 §2")
def test_repetition_is_refused_when_the_parameter_may_stand_once() -> None:
    Parameters({"resource": ["a", "b"], "audience": ["a", "b"], "a": ["b", ""]}).check_not_repeated()
    with pytest.raises(InvalidRequest):
        Parameters({"a": ["b", "b"]}).check_not_repeated()


@pytest.mark.spec("RFC 6749 §2.3.1")
def test_parameters_count_for_one_place_only_when_authlib_asks(gatepost: Gatepost) -> None:
    parameters = Parameters({"code": ["x"]})
    with gatepost.work() as work:
        url = work.settings.url("/oauth/token")
        post = ProtocolRequest(work, "POST", url, {}, parameters)
        get = ProtocolRequest(work, "GET", url, {}, parameters)
    assert (post.form, post.args) == ({"code": "x"}, {})
    assert (get.form, get.args) == ({}, {"code": "x"})


def test_request_has_all_that_authlib_s_own_constructor_sets(gatepost: Gatepost) -> None:
    url = "https://id.example.com/oauth/token"
    with gatepost.work() as work:
        ours = ProtocolRequest(work, "POST", url, {}, Parameters({}))
    theirs = OAuth2Request("POST", url)
    assert vars(theirs).keys() <= vars(ours).keys()
    assert {name for name, value in vars(theirs).items() if vars(ours)[name] != value} == {"payload"}
