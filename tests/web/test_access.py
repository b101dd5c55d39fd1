import pytest

from codapi_flask.web.access import Access


@pytest.mark.parametrize(
    ("authorization", "granted"),
    [
        ("Bearer one", True),
        ("Bearer two", True),
        ("bearer one", True),
        ("Bearer  one ", True),
        ("Bearer o", False),
        ("Bearer onetwo", False),
        ("Bearer ", False),
        ("Basic one", False),
        ("one", False),
        ("Bearer \u00fc\ud800", False),
        ("", False),
    ],
)
def test_client_needs_one_of_the_tokens(authorization, granted):
    assert Access(tokens=["one", "two"]).is_granted(authorization) is granted


@pytest.mark.parametrize("authorization", ["", "Bearer whatever", "nonsense"])
def test_access_without_tokens_is_open_to_anybody(authorization):
    assert Access().is_granted(authorization)


def test_access_without_origins_allows_any_page_to_read():
    headers = Access().cors("https://any.example")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Allow-Methods"] == "options, post"


def test_page_of_an_allowed_origin_may_read_answers():
    headers = Access(origins=["https://a.example"]).cors("https://a.example")
    assert headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://b.example", "https://a.example.evil", "null", ""])
def test_page_of_another_origin_may_not_read_answers(origin):
    assert Access(origins=["https://a.example"]).cors(origin) == {"Vary": "Origin"}
