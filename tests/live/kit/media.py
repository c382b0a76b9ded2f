"""Test sounds and pictures, made once per run by sox and ffmpeg.

Each tone and each picture says whose it is: tones differ in frequency, pictures in the colour of their border. In the
middle of a picture a clock runs, so no two frames are the same.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import av

SECONDS = 120
"""Longer than any call of these tests, so that nothing has to loop."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 0, 0),
    "blue": (0, 0, 200),
    "green": (0, 160, 0),
}


@dataclass(frozen=True, slots=True)
class Media:
    """A folder with `tone-FREQUENCY.wav` (48 kHz, mono), `tone-FREQUENCY.al` (A-law, bare) and `COLOUR.mp4`."""

    folder: Path

    def tone(self, frequency: int) -> Path:
        """Give a WAV file of a tone, loud enough to be found and not clipped by any codec."""
        path = self.folder / f"tone-{frequency}.wav"
        if not path.exists():
            _run("sox", "-n", "-r", "48000", "-c", "1", "-b", "16", path,
                 "synth", str(SECONDS), "sine", str(frequency), "vol", "0.4")  # fmt: skip
        return path

    def alaw(self, frequency: int) -> Path:
        """Give the same tone as bare A-law at 8 kHz, as SIPp's rtp_stream wants it."""
        path = self.folder / f"tone-{frequency}.al"
        if not path.exists():
            _run("sox", self.tone(frequency), "-r", "8000", "-t", "al", path)
        return path

    def picture(self, colour: str) -> Path:
        """Give an H.264 test video of 320x240 at 15 frames a second with a border of one colour."""
        path = self.folder / f"{colour}.mp4"
        if not path.exists():
            red, green, blue = COLOURS[colour]
            _run("ffmpeg", "-v", "error", "-y",
                 "-f", "lavfi", "-i", f"color=c=0x{red:02x}{green:02x}{blue:02x}:size=320x240:rate=15",
                 "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=15",
                 "-filter_complex", "[0][1]overlay=80:60", "-t", str(SECONDS), "-c:v", "libx264",
                 "-preset", "ultrafast", "-profile:v", "baseline", "-pix_fmt", "yuv420p", "-g", "30", path)  # fmt: skip
        return path


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")


def contrast(image: Path) -> float:
    """Give the standard deviation of a picture's brightness, 0 (all one grey) to 127."""
    with av.open(str(image)) as container:
        frame = next(iter(container.decode(video=0)))
        return float(frame.to_ndarray(format="gray").std())


def border(image: Path) -> str:
    """Name the colour of `COLOURS` a picture's border is nearest to; `none` when it is near none of them.

    `image` is a PNG or JPEG; the border is the outer tenth on every side.
    """
    with av.open(str(image)) as container:
        frame = next(iter(container.decode(video=0)))
        pixels = frame.to_ndarray(format="rgb24").astype(float)
    height, width, _ = pixels.shape
    rows, columns = max(1, height // 10), max(1, width // 10)
    edges = [pixels[:rows], pixels[-rows:], pixels[:, :columns], pixels[:, -columns:]]
    mean = [sum(float(edge[..., channel].mean()) for edge in edges) / len(edges) for channel in range(3)]
    distance = {
        name: sum((a - b) ** 2 for a, b in zip(mean, colour, strict=True)) ** 0.5
        for name, colour in COLOURS.items()
    }
    best = min(distance, key=lambda name: distance[name])
    return best if distance[best] < 80 else f"none ({', '.join(f'{value:.0f}' for value in mean)})"
