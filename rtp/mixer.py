"""Mixing of all voices of one sampling rate in one go: arrays in, arrays out. Pure.

frames (voices × 20 ms) ─▶ lost ones concealed ─▶ each ear's voices added ─▶ limiter ─▶ frames (ears × 20 ms)

Who hears whom is a table of row numbers, padded with a row of silence: no sum is made of which one's own voice is then
taken away again, so an ear never hears what `wiring` did not give it. Sums are integers: the order of voices changes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Flags = NDArray[np.bool_]

FRAMES_A_SECOND: Final = 50
HISTORY_FRAMES: Final = 3
"""Frames of each voice kept to conceal from: the longest pitch period twice, and the stretch it is looked for in."""
ROOM_FRAMES: Final = 2 * HISTORY_FRAMES + 2
"""Frames there is room for, so that what is kept has to be moved in few beats only."""
SHORTEST_PITCH: Final = 0.0025
LONGEST_PITCH: Final = 0.015
"""Seconds: 400 Hz and 66 Hz, as in ITU-T G.711 Appendix I."""
FADING: Final = (1.0, 1.0, 0.5, 0.0)
"""Loudness of what is concealed after 0, 20, 40 and 60 ms: a longer repetition sounds like a machine (as in Appendix I)."""
BLEND_SECONDS: Final = 0.005
"""Concealed sound passes into real sound in this time."""
CEILING: Final = 29_204
"""Peak the limiter lets through: 1 dB below full scale."""
RELEASE: Final = 1.06
"""Growth of the limiter's gain in a frame, back to 1: 0.5 dB in 20 ms, 25 dB in a second."""
ATTACK_SECONDS: Final = 0.001
"""In this time the limiter turns down; what is above full scale meanwhile is clipped."""


class Mixer:
    """Voices and ears of one sampling rate: their rows, the sound just heard, the limiter's gains."""

    def __init__(self, rate: int) -> None:
        """`rate`: 8000 or 16000 Hz."""
        self.rate = rate
        self.frame = rate // FRAMES_A_SECOND
        """Samples in 20 ms."""
        self.voices: tuple[str, ...] = ()
        """Row by row."""
        self.ears: tuple[str, ...] = ()
        self.concealed = 0
        """Frames made up since the beginning."""
        self._table = np.zeros((0, 1), np.intp)
        self._history = np.zeros((0, ROOM_FRAMES * self.frame), np.int16)
        self._end = HISTORY_FRAMES * self.frame  # of what is kept
        self._run = np.zeros(0, np.intp)  # frames concealed in a row
        self._gain = np.zeros(0, np.float32)
        self._room = np.zeros((1, self.frame), np.int32)  # the voices' frames and one of silence
        self._blend = (np.arange(int(rate * BLEND_SECONDS)) + 0.5) / int(rate * BLEND_SECONDS)
        self._attack = np.minimum(1.0, (np.arange(self.frame) + 1) / int(rate * ATTACK_SECONDS)).astype(
            np.float32
        )

    def arrange(self, voices: Sequence[str], ears: Mapping[str, Sequence[str]]) -> None:
        """Set who is here and which of `voices` each ear hears; who was here before goes on without a seam.

        KeyError for an ear that is to hear a voice that is not here.
        """
        rows = {name: row for row, name in enumerate(self.voices)}
        history = np.zeros((len(voices), ROOM_FRAMES * self.frame), np.int16)
        kept, past = HISTORY_FRAMES * self.frame, self._past
        run = np.zeros(len(voices), np.intp)
        for row, name in enumerate(voices):
            if (before := rows.get(name)) is not None:
                history[row, :kept], run[row] = past[before], self._run[before]
        gains = dict(zip(self.ears, self._gain.tolist(), strict=True))
        at = {name: row for row, name in enumerate(voices)}
        most = max((len(heard) for heard in ears.values()), default=1)
        table = np.full((len(ears), max(most, 1)), len(voices), np.intp)
        for row, heard in enumerate(ears.values()):
            table[row, : len(heard)] = [at[name] for name in heard]
        self.voices, self.ears = tuple(voices), tuple(ears)
        self._history, self._end, self._run, self._table = history, kept, run, table
        self._gain = np.array([gains.get(name, 1.0) for name in ears], np.float32)
        self._room = np.zeros((len(voices) + 1, self.frame), np.int32)

    def mix(self, frames: Samples, missing: Flags) -> Samples:
        """Give what each ear hears, shape (ears, frame). `frames`: shape (voices, frame); `missing`: rows to be concealed."""
        made = self.conceal(frames, missing)
        room = self._room
        room[:-1] = made
        table = self._table
        mixed = room[table[:, 0]]
        for column in range(1, table.shape[1]):
            mixed += room[table[:, column]]
        return self._limit(mixed)

    def recent(self, voice: str) -> Samples:
        """The last 20 ms of a voice as they were mixed; silence for one that is not here."""
        if voice not in self.voices:
            return np.zeros(self.frame, np.int16)
        last: Samples = self._past[self.voices.index(voice), -self.frame :].copy()
        return last

    @property
    def _past(self) -> Samples:
        """What is kept of each voice, oldest first."""
        return self._history[:, self._end - HISTORY_FRAMES * self.frame : self._end]

    # --- concealment -----------------------------------------------------------------------------------------------

    def conceal(self, frames: Samples, missing: Flags) -> Samples:
        """Fill the missing rows with the voices' own sound, fading; blend into what comes after."""
        rows = np.flatnonzero(missing | (self._run > 0))
        if len(rows):
            frames = frames.copy()
            self._fill(frames, rows, missing[rows])
        history, frame = self._history, self.frame
        if self._end == history.shape[1]:
            kept = (HISTORY_FRAMES - 1) * frame
            history[:, :kept] = history[:, -kept:]
            self._end = kept
        history[:, self._end : self._end + frame] = frames
        self._end += frame
        return frames

    def _fill(self, frames: Samples, rows: NDArray[np.intp], gone: Flags) -> None:
        run = np.minimum(self._run[rows], len(FADING) - 1)
        follows = np.minimum(run + 1, len(FADING) - 1)
        made = self._continued(rows[run < len(FADING) - 1])
        whole = np.zeros((len(rows), self.frame), np.float32)
        whole[run < len(FADING) - 1] = made
        levels = np.array(FADING, np.float32)
        slope = np.linspace(0.0, 1.0, self.frame, endpoint=False, dtype=np.float32)
        whole *= levels[run][:, None] + (levels[follows] - levels[run])[:, None] * slope
        lost, back = rows[gone], rows[~gone]
        frames[lost] = np.rint(whole[gone])
        self.concealed += len(lost)
        if len(back):
            blend = len(self._blend)
            head = frames[back, :blend] * self._blend + whole[~gone][:, :blend] * (1 - self._blend)
            frames[back, :blend] = np.rint(head)
        self._run[lost] += 1
        self._run[back] = 0

    def _continued(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Each voice's last pitch period, repeated for a frame and 20 ms, shape (rows, frame)."""
        past = self._past[rows].astype(np.float32)
        if not len(rows):
            return np.zeros((0, self.frame), np.float32)
        shortest, longest = int(self.rate * SHORTEST_PITCH), int(self.rate * LONGEST_PITCH)
        template = past[:, -self.frame :]
        # Window of lag L ends L samples before the end; lags from the shortest to the longest.
        reach = past[:, -self.frame - longest : past.shape[1] - shortest]
        windows = np.lib.stride_tricks.sliding_window_view(reach, self.frame, axis=1)
        likeness = np.einsum("rlf,rf->rl", windows, template)
        power = np.einsum("rlf,rlf->rl", windows, windows)
        lag = longest - np.argmax(likeness / np.sqrt(power + 1.0), axis=1)
        at = past.shape[1] - lag[:, None] + np.arange(self.frame) % lag[:, None]
        repeated: NDArray[np.float32] = np.take_along_axis(past, at, axis=1)
        return repeated

    # --- limiter ---------------------------------------------------------------------------------------------------

    def _limit(self, mixed: NDArray[np.int32]) -> Samples:
        """Turn down what is louder than the ceiling, at once; let it come back slowly. Never wraps."""
        peak = np.maximum(mixed.max(axis=1, initial=0), -mixed.min(axis=1, initial=0))
        before = self._gain
        if not (peak > CEILING).any() and (before >= 1.0).all():
            return mixed.astype(np.int16)
        bearable = CEILING / np.maximum(peak, CEILING)
        after = np.minimum(np.minimum(bearable, before * RELEASE), 1.0).astype(np.float32)
        gain = before[:, None] + (after - before)[:, None] * self._attack
        self._gain = after
        limited: Samples = np.clip(np.rint(mixed * gain), -32768, 32767).astype(np.int16)
        return limited
