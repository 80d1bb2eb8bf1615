import json
import time
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shuntyard.guard import Redactor
from shuntyard.guard.redact import luhn

CLEAN = Redactor({})
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF1234567890abcdef",
        "sk-ant-" + "api03-" + "a1B2" * 6,
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "github_pat_11ABCDEFG0123456789_abcdefghijklmnop",
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-123456789012-abcdefghijkl",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH",
        JWT,
        PEM,
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "5500005555555559",
        "3782 822463 10005",
    ],
)
@pytest.mark.parametrize("around", ["{}", "key={}", 'a "{}" b', "see {}.", "{}\nnext line", "({})"])
def test_known_formats_go(secret: str, around: str) -> None:
    text = CLEAN.text(around.format(secret))
    assert secret not in text and "[secret:" in text
    assert text.startswith(around.partition("{")[0]) and text.endswith(around.rpartition("}")[2])


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abc123def456ghi789", "Authorization: Bearer [secret:bearer]"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "Authorization: Basic [secret:authorization]"),
        ('{"authorization": "Basic dXNlcjpwYXNz"}', '{"authorization": "Basic [secret:authorization]"}'),
        ("postgres://me:hunter2@db:5432/x", "postgres://me:[secret:password]@db:5432/x"),
        ("redis://:hunter2@cache", "redis://:[secret:password]@cache"),
    ],
)
def test_headers_and_addresses_keep_their_frame(text: str, redacted: str) -> None:
    assert CLEAN.text(text) == redacted


def test_values_of_the_environments_secrets_go_wherever_they_stand(tmp_path: Path) -> None:
    keyfile = tmp_path / "id_rsa"
    keyfile.write_text("x")
    redactor = Redactor(
        {
            "FAR_API_KEY": "k(1)+value",
            "LONGER_TOKEN": "k(1)+value-and-more",
            "DB_PASSWORD": 'say "friend"\nenter',
            "CLIENT_SECRET_ID": "abcdefgh",
            "SHORT_KEY": "abc",
            "SSH_KEY": str(keyfile),
            "MAX_TOKENS": "12345678",
            "HOME": "/home/somebody",
        }
    )
    assert redactor.text("xk(1)+value-and-morex k(1)+value") == "x[secret:LONGER_TOKEN]x [secret:FAR_API_KEY]"
    assert "friend" not in redactor.text('say "friend"\nenter')
    assert "friend" not in redactor.text(json.dumps({"p": 'say "friend"\nenter'}))
    assert redactor.text("abcdefgh") == "[secret:CLIENT_SECRET_ID]"
    for kept in ("abc", str(keyfile), "12345678", "/home/somebody"):
        assert redactor.text(kept) == kept


def test_an_unfinished_key_block_does_not_swallow_the_json_around_it() -> None:
    text = json.dumps({"a": PEM[:40], "b": f"x {PEM} y"})
    assert json.loads(CLEAN.text(text)) == {"a": "[secret:private key]", "b": "x [secret:private key] y"}


def test_numbers_of_json_text_stay_numbers() -> None:
    data = {"a": 4111111111111111, "b": [4111111111111111], "c": "4111111111111111", "d": "no 4111111111111111"}
    for text in (json.dumps(data), json.dumps(data, separators=(",", ":"))):
        assert json.loads(CLEAN.text(text)) == data | {"c": "[secret:card]", "d": "no [secret:card]"}


def test_values_keep_their_shape() -> None:
    redactor = Redactor({"A_TOKEN": "t0k3n-value"})
    data = {"t0k3n-value": [1, 2.5, None, True, {"x": "a t0k3n-value b"}], "n": 4111111111111111, "t": ("t0k3n-value",)}
    assert redactor.value(data) == {
        "[secret:A_TOKEN]": [1, 2.5, None, True, {"x": "a [secret:A_TOKEN] b"}],
        "n": 4111111111111111,
        "t": ["[secret:A_TOKEN]"],
    }


@given(
    st.one_of(
        st.integers(-(10**14), 10**14).map(str),
        st.floats(allow_nan=False).map(repr),
        st.datetimes().map(datetime.isoformat),
        st.dates().map(str),
        st.uuids().map(UUID.__str__),
        st.binary(min_size=20, max_size=20).map(bytes.hex),
        st.binary(min_size=32, max_size=32).map(bytes.hex),
        st.lists(st.integers(0, 9999), min_size=1, max_size=9).map(lambda row: ",".join(map(str, row))),
        st.lists(st.integers(1000, 9999), min_size=1, max_size=3).map(lambda row: " ".join(map(str, row))),
        st.text(max_size=60),
    )
)
def test_ordinary_data_comes_back_as_it_is(text: str) -> None:
    assert CLEAN.text(text) == text
    assert CLEAN.value({"a": [text]}) == {"a": [text]}


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "0.4111111111111111",
        "1,4111 1111 1111 1111",
        "1763728496123456",
        "task-list-of-something-long-and-plain",
        "sk-learn-pipeline-with-long-words",
        "see https://example.com:8080/a@b and user@example.com",
        "the bearer cryptographically-signed",
        "basic internationalization",
        "-----BEGIN PUBLIC KEY-----",
        "commit 0c8577d1b6f0e5d1a94ee1a09af4c0cbd7de7ff0",
        "AKIA is a prefix",
    ],
)
def test_what_only_resembles_a_secret_stays(text: str) -> None:
    assert CLEAN.text(text) == text


@given(st.integers(10**14, 10**15 - 1))
def test_exactly_one_check_digit_is_right(number: int) -> None:
    assert sum(luhn(f"{number}{digit}") for digit in range(10)) == 1


FRAGMENTS = st.sampled_from(
    [
        "\n",
        "\t",
        '"',
        " ",
        "a",
        "7",
        ".",
        "-",
        "4111",
        "1111 ",
        "Bearer ",
        "Authorization: Basic ",
        "://u:",
        "pass@h",
        "x" * 30,
    ]
) | st.text(max_size=6)
SECRETS = st.sampled_from(
    ["sk-proj-abcDEF1234567890abcdef", JWT, PEM, "4111 1111 1111 1111", "378282246310005", 'wörd"ßß1']
)


@given(st.lists(FRAGMENTS | SECRETS, max_size=8).map("".join))
@example("\x074111 1111 1111 1111")
@example("é4111111111111111")
def test_what_is_not_suspected_has_no_secret(text: str) -> None:
    redactor = Redactor({"MY_TOKEN": 'wörd"ßß1'})
    changed = redactor._pattern.sub(redactor._replace, text) != text
    assert redactor.suspects(text) or not changed
    # Also as JSON, where a line break before a secret reads like a letter.
    if changed:
        assert redactor.suspects(json.dumps(text)) and redactor.suspects(json.dumps(text, ensure_ascii=False))
        assert redactor.text(text) != text


def test_clean_text_is_cheap() -> None:
    text = "2026-11-21 12:35:16 INFO orders.csv row 4711: total=1200.50 user=a.b@example.com path=/srv/x-1/y_2\n" * 2000
    started = time.process_time()
    assert CLEAN.text(text) == text
    assert time.process_time() - started < 0.5, "200 kB"
