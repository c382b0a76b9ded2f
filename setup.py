"""The part of the build that pyproject.toml can't say: the native media engine, left out where there is no C compiler."""

from setuptools import Extension, setup

PARTS = ("records", "tape", "jitter", "flow", "mixing", "playing", "loop")
"""What `_relay.pyx` includes."""

setup(
    ext_modules=[
        Extension(
            "rtp.native._relay",
            [
                "rtp/native/_relay.pyx",
                "rtp/native/relay.c",
                "rtp/native/loop.c",
                "rtp/native/tape.c",
                "rtp/native/block.c",
                "rtp/native/beat.c",
                "rtp/native/jitter.c",
            ],
            include_dirs=["rtp/native"],
            depends=[
                "rtp/native/_relay.pxd",
                *(f"rtp/native/{name}.pxi" for name in PARTS),
                "rtp/native/relay.h",
                "rtp/native/jitter.h",
            ],
            # No contraction of a·b+c into one rounding: the numbers must be those of the Python engine to the last bit.
            extra_compile_args=["-std=gnu11", "-ffp-contract=off"],
            optional=True,
        )
    ]
)
