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
def test_a_client_needs_one_of_the_tokens(authorization, granted):
    assert Access(tokens=["one", "two"]).is_granted(authorization) is granted


@pytest.mark.parametrize("authorization", ["", "Bearer whatever", "nonsense"])
def test_without_tokens_anybody_may(authorization):
    assert Access().is_granted(authorization)


def test_without_origins_any_page_may_read_answers():
    headers = Access().cors("https://any.example")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Allow-Methods"] == "options, post"


def test_a_page_of_an_allowed_origin_may_read_answers():
    headers = Access(origins=["https://a.example"]).cors("https://a.example")
    assert headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://b.example", "https://a.example.evil", "null", ""])
def test_a_page_of_another_origin_may_not(origin):
    assert Access(origins=["https://a.example"]).cors(origin) == {"Vary": "Origin"}
