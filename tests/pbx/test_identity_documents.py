"""A document's number is kept as a keyed digest; a number that can't be one is none."""

import pytest

from pbx.identity_documents import DocumentKey, resident_id_fits

NUMBER = "11010519491231002X"
"""The example of GB 11643 itself."""


def test_the_digest_needs_the_key_and_outlives_a_restart(tmp_path):
    path = tmp_path / "document.key"
    digest = DocumentKey(path).digest("resident-id", NUMBER)
    assert digest is not None
    assert len(digest) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert DocumentKey(path).digest("resident-id", "110105 19491231-002x") == digest
    assert DocumentKey(tmp_path / "other.key").digest("resident-id", NUMBER) != digest
    assert DocumentKey(path).digest("other", NUMBER) != digest


@pytest.mark.parametrize("number", ["", "110", "110105194912310021", "1101051949123100X2", "١١٠105194912310021", NUMBER + "1", "K" * 18])  # fmt: skip
def test_no_resident_id(tmp_path, number):
    assert DocumentKey(tmp_path / "k").digest("resident-id", number) is None


@pytest.mark.parametrize("number", ["", "E12", "E\n12345678", "\u212a12345678", "E" * 33])
def test_no_passport(tmp_path, number):
    assert DocumentKey(tmp_path / "k").digest("passport", number) is None


def test_every_single_wrong_digit_is_found():
    assert resident_id_fits(NUMBER)
    for place in range(17):
        for digit in "0123456789":
            other = NUMBER[:place] + digit + NUMBER[place + 1 :]
            assert resident_id_fits(other) is (other == NUMBER)


def test_a_damaged_key_is_not_replaced(tmp_path):
    path = tmp_path / "document.key"
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="damaged"):
        DocumentKey(path)
    assert path.read_bytes() == b"short"
