import string

import pytest

from pbx.phone import texts


def test_every_text_takes_the_same_values_in_both_languages():
    for key, pair in texts.TEXTS.items():
        fields = [
            len([field for _, field, _, _ in string.Formatter().parse(text) if field is not None])
            for text in pair
        ]
        assert fields[0] == fields[1], key


def test_chinese_is_chinese():
    for key, (english, chinese) in texts.TEXTS.items():
        assert english.isascii(), key
        assert key == "progress" or any("\u4e00" <= char <= "\u9fff" for char in chinese), key


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LC_ALL": "", "LANG": "zh"}, "zh"),
    ],
)
def test_language(environment, language):
    assert texts.language(environment) == language
