"""The picture a scripted phone sends: a moving test card with a running clock, as planes of brightness and colour.

time of day, count ─▶ draw ─▶ yuv420p array ─▶ (video.PictureEncoder); back: read_clock(brightness) ─▶ "09:41:07.3"

Drawn with numpy alone. The clock can be read back from a decoded picture, so a test knows whose picture it sees and
how old it is.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]

WIDTH: Final = 320
HEIGHT: Final = 240
PICTURES_PER_SECOND: Final = 10

DOT: Final = 5  # pixels a dot of a character is wide and high
GLYPH_WIDTH: Final = 6 * DOT  # five dots and one apart
CLOCK_LEFT: Final = 10
CLOCK_TOP: Final = 20
BLACK: Final = 16
WHITE: Final = 235

# Five by seven dots each, rows from the top, one character a row of five bits.
GLYPHS: Final[dict[str, tuple[int, ...]]] = {
    "0": (0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110),
    "1": (0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110),
    "2": (0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111),
    "3": (0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110),
    "4": (0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010),
    "5": (0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110),
    "6": (0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110),
    "7": (0b11111, 0b00001, 0b00010, 0b00100, 0b00100, 0b01000, 0b01000),
    "8": (0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110),
    "9": (0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100),
    ":": (0b00000, 0b00100, 0b00100, 0b00000, 0b00100, 0b00100, 0b00000),
    ".": (0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100),
}
CLOCK_LENGTH: Final = len("00:00:00.0")
MAX_WRONG_DOTS: Final = 2  # of 35: any two characters differ in at least five

# (Cb, Cr) of the card's ground, so that one sees at a glance whose picture it is.
COLOURS: Final[dict[str, tuple[int, int]]] = {"caller": (90, 190), "desk": (190, 100)}


def clock_text(milliseconds: int) -> str:
    """Milliseconds since midnight → `HH:MM:SS.t`."""
    seconds, rest = divmod(milliseconds % 86_400_000, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}.{rest // 100}"


def draw(role: str, milliseconds: int, number: int) -> Plane:
    """One picture as yuv420p, shape (HEIGHT · 3 / 2, WIDTH).

    `role` chooses the colour (`caller` or `desk`), `milliseconds` since midnight stand in the clock, picture `number`
    places the moving bar.
    """
    brightness = np.empty((HEIGHT, WIDTH), np.uint8)
    brightness[:] = np.linspace(60, 180, WIDTH, dtype=np.uint8)
    left = number * 6 % (WIDTH - 40)
    brightness[HEIGHT // 2 :, left : left + 40] = WHITE
    brightness[HEIGHT - 24 : HEIGHT - 8, 8 : 8 + number % PICTURES_PER_SECOND * 16 + 16] = BLACK
    _write(brightness, clock_text(milliseconds))
    blue, red = COLOURS[role]
    quarter = HEIGHT // 4 * WIDTH  # a colour plane is half as wide and half as high
    colour = np.concatenate([np.full(quarter, blue, np.uint8), np.full(quarter, red, np.uint8)])
    return np.concatenate([brightness.ravel(), colour]).reshape(HEIGHT * 3 // 2, WIDTH)


def _write(brightness: Plane, text: str) -> None:
    height, width = 7 * DOT, GLYPH_WIDTH * len(text)
    brightness[CLOCK_TOP - DOT : CLOCK_TOP + height + DOT, CLOCK_LEFT - DOT : CLOCK_LEFT + width] = BLACK
    for index, character in enumerate(text):
        left = CLOCK_LEFT + index * GLYPH_WIDTH
        dots = np.kron(_dots(character), np.ones((DOT, DOT), np.uint8))
        area = brightness[CLOCK_TOP : CLOCK_TOP + height, left : left + 5 * DOT]
        area[dots == 1] = WHITE


def _dots(character: str) -> Plane:
    return np.array([[row >> (4 - column) & 1 for column in range(5)] for row in GLYPHS[character]], np.uint8)


def read_clock(brightness: Plane) -> str | None:
    """Read the clock of a picture of ours from its decoded brightness, shape (HEIGHT, WIDTH); None when there is none."""
    if brightness.shape != (HEIGHT, WIDTH):
        return None
    text = ""
    for index in range(CLOCK_LENGTH):
        left = CLOCK_LEFT + index * GLYPH_WIDTH
        area = brightness[CLOCK_TOP : CLOCK_TOP + 7 * DOT, left : left + 5 * DOT]
        seen = area.reshape(7, DOT, 5, DOT).mean(axis=(1, 3)) > (BLACK + WHITE) / 2
        wrong, character = min((int((seen != _dots(known)).sum()), known) for known in GLYPHS)
        if wrong > MAX_WRONG_DOTS:
            return None
        text += character
    return text if text[2] == text[5] == ":" and text[8] == "." else None
