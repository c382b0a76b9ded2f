"""A load of a given pressure, reached as in life: by probes."""

from pbx.guard.glance import Rank
from pbx.guard.load import AGREEING, LEAST_STEP, PATIENCE, TARGET_LAG, Load


def at_pressure(pressure: float) -> Load:
    """Return a load that sheds this much: whole ranks, and of the next one a share."""
    load = Load()
    while load.pressure < int(pressure):
        load.probe(TARGET_LAG * 2, 0.0, 0.9)
    kept = 1.0 - (pressure - int(pressure))
    for _ in range(PATIENCE):
        load.probe(TARGET_LAG, 0.0, 0.9)  # at its target: nothing changes
    while kept < 1.0 and load.pressure < pressure:
        # One probe multiplies what is accepted by target / measurement, by LEAST_STEP at most.
        rank = (Rank.OTHER, Rank.REGISTER, Rank.OWNER)[int(pressure)]
        step = max(LEAST_STEP, kept / (1.0 - load.share(rank)))
        for _ in range(AGREEING if load.shedding else PATIENCE):
            load.probe(TARGET_LAG / step, 0.0, 0.9)
        load.probe(TARGET_LAG, 0.0, 0.9)
        if abs(1.0 - load.share(rank) - kept) < 1e-9:
            break
    return load
