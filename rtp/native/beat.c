/* Which legs need Python: at each beat, and at each sweep. Both look at records of C's alone, so a quiet leg costs no interpreter. */
#include "relay.h"

#include <stdlib.h>

int relay_restless(relay_phase *phase, double now)
{
    phase->found_count = 0;
    for (int i = 0; i < phase->count; i++) {
        relay_leg *leg = phase->legs[i];
        if (relay_play(&leg->reel, now))
            continue;
        const relay_out *out = leg->out;
        /* Written so that a stream that never sent anything (NaN) is restless. */
        if (out && !(out->relaying && !leg->busy && now - out->at <= phase->fill))
            phase->found[phase->found_count++] = i;
    }
    return phase->found_count;
}

static int stirs(const relay_flow *flow, double now, double quiet)
{
    if (!flow->lent || !(now - flow->heard <= quiet) || flow->flooded != flow->flood_stated)
        return 1;
    return flow->picture && (flow->asking || flow->source->gaps != flow->gaps_seen);
}

int relay_stirred(relay_phase *phase, double now, double quiet)
{
    phase->found_count = 0;
    for (int i = 0; i < phase->count; i++) {
        const relay_leg *leg = phase->legs[i];
        int found = now >= leg->rtcp_due || now >= leg->report_due;
        for (int k = 0; k < leg->flow_count && !found; k++)
            found = stirs(leg->flows[k], now, quiet);
        if (found)
            phase->found[phase->found_count++] = i;
    }
    return phase->found_count;
}

int relay_phase_room(relay_phase *phase, int count)
{
    relay_leg **legs = realloc(phase->legs, (size_t)(count + 1) * sizeof *legs);
    if (!legs)
        return -1;
    phase->legs = legs;
    int *found = realloc(phase->found, (size_t)(count + 1) * sizeof *found);
    if (!found)
        return -1;
    phase->found = found;
    return 0;
}

void relay_phase_close(relay_phase *phase)
{
    free(phase->legs);
    free(phase->found);
    phase->legs = NULL;
    phase->found = NULL;
    phase->count = 0;
}

double relay_beat_due(const relay_beats *beats)
{
    return beats->started + (double)beats->number * beats->step;
}

int relay_beat(relay_beats *beats, double now)
{
    if (!beats->step || beats->restless)
        return beats->restless != NULL;
    double late = now - relay_beat_due(beats);
    if (!(late >= 0))
        return 0;
    relay_phase *phase = beats->phases[beats->number % RELAY_PHASES];
    /* The grid stands on one start, so lateness never adds up; beats that a stall has swallowed are left out. */
    int64_t reached = (int64_t)((now - beats->started) / beats->step);
    beats->number = reached > beats->number + 1 ? reached : beats->number + 1;
    if (!relay_restless(phase, now))
        return 0;
    beats->restless = phase;
    beats->late = late;
    return 1;
}
