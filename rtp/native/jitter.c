/* rtp.jitter.JitterBuffer in C: the same decisions, packet by packet (tests/rtp/native/test_jitter_twin.py holds them together). */
#include "jitter.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_PATIENCE = 100, MOST_PATIENCE = 1600, MAX_AHEAD = 100, STRANGE = 5, HALF16 = 0x8000, MAX_MISORDER = 100 };
enum { MAX_MS = 200, LEAST_FRAMES = 3, PULL_MS = 20 };

void relay_jitter_open(relay_jitter *jitter)
{
    memset(jitter, 0, sizeof *jitter);
    jitter->least = MAX_AHEAD;
    jitter->patience = LEAST_PATIENCE;
    relay_jitter_span(jitter, PULL_MS);
}

void relay_jitter_span(relay_jitter *jitter, int ms)
{
    int most = (MAX_MS + ms - 1) / ms;
    jitter->span = ms;
    jitter->most = most < LEAST_FRAMES ? LEAST_FRAMES : most > JITTER_FRAMES ? JITTER_FRAMES : most;
}

void relay_jitter_close(relay_jitter *jitter)
{
    for (int i = 0; i <= JITTER_FRAMES; i++)
        free(jitter->held[i].data);
}

static int find(const relay_jitter *jitter, uint16_t sequence)
{
    for (int i = 0; i < jitter->count; i++)
        if (jitter->held[i].sequence == sequence)
            return i;
    return -1;
}

/* Take one out; what it held stays readable in the place behind the last until the next `add`. */
static const relay_sound *drop(relay_jitter *jitter, int at)
{
    relay_sound gone = jitter->held[at];
    jitter->held[at] = jitter->held[--jitter->count];
    jitter->held[jitter->count] = gone;
    return &jitter->held[jitter->count];
}

static int add(relay_jitter *jitter, uint16_t sequence, uint8_t name, const unsigned char *data, uint32_t size)
{
    relay_sound *sound = &jitter->held[jitter->count];
    if (size > sound->room) {
        unsigned char *room = realloc(sound->data, size);
        if (!room)
            return 0;
        sound->data = room;
        sound->room = size;
    }
    if (size)
        memcpy(sound->data, data, size);
    sound->sequence = sequence;
    sound->name = name;
    sound->size = size;
    jitter->count++;
    return 1;
}

static void grow_patient(relay_jitter *jitter)
{
    if (jitter->rushed) {
        jitter->rushed = 0;
        jitter->patience = jitter->patience * 2 < MOST_PATIENCE ? jitter->patience * 2 : MOST_PATIENCE;
    }
    jitter->pulls = 0;
    jitter->least = MAX_AHEAD;
    jitter->hurry = 0;
}

static void look_back(relay_jitter *jitter)
{
    jitter->hurry = jitter->least >= 1;
    if (!jitter->hurry && jitter->patience > LEAST_PATIENCE)
        jitter->patience /= 2;
    jitter->pulls = 0;
    jitter->least = MAX_AHEAD;
}

static void overflow(relay_jitter *jitter)
{
    for (int left = (jitter->count - 1) / 2; left > 0; left--) {
        int oldest = 0;
        for (int k = 1; k < jitter->count; k++)
            if ((uint16_t)(jitter->held[k].sequence - jitter->next) < (uint16_t)(jitter->held[oldest].sequence - jitter->next))
                oldest = k;
        drop(jitter, oldest);
        jitter->overflown++;
    }
    int oldest = 0;
    for (int k = 1; k < jitter->count; k++)
        if ((uint16_t)(jitter->held[k].sequence - jitter->next) < (uint16_t)(jitter->held[oldest].sequence - jitter->next))
            oldest = k;
    jitter->next = jitter->held[oldest].sequence;
    jitter->concealed = 0;
    jitter->hurry = 0;
}

static int forget_lost(relay_jitter *jitter, uint16_t sequence)
{
    for (int i = 0; i < jitter->missed_count; i++)
        if (jitter->missed[i] == sequence) {
            memmove(&jitter->missed[i], &jitter->missed[i + 1], (size_t)(--jitter->missed_count - i) * sizeof *jitter->missed);
            return 1;
        }
    return 0;
}

static void miss(relay_jitter *jitter)
{
    jitter->lost++;
    if (jitter->missed_count == JITTER_REMEMBERED)
        memmove(jitter->missed, jitter->missed + 1, (size_t)--jitter->missed_count * sizeof *jitter->missed);
    jitter->missed[jitter->missed_count++] = jitter->next++;
}

int relay_jitter_push(relay_jitter *jitter, uint16_t sequence, uint8_t name, const unsigned char *data, uint32_t size)
{
    if (!jitter->begun) {
        jitter->begun = 1;
        jitter->next = sequence;
    }
    uint16_t ahead = (uint16_t)(sequence - jitter->next);
    if (ahead < MAX_AHEAD) {
        jitter->strange = 0;
        if (find(jitter, sequence) < 0 && !add(jitter, sequence, name, data, size))
            return 0;
        if (jitter->count > jitter->most)
            overflow(jitter);
        return 1;
    }
    if (ahead >= HALF16 && 2 * HALF16 - ahead <= MAX_MISORDER) {
        if (forget_lost(jitter, sequence)) {
            jitter->late++;
            jitter->hold = 1;
            grow_patient(jitter);
        }
        if (++jitter->strange <= STRANGE)
            return 1;
    }
    jitter->count = jitter->missed_count = 0;
    jitter->next = sequence;
    jitter->concealed = jitter->strange = 0;
    jitter->hold = jitter->hurry = 0;
    return add(jitter, sequence, name, data, size);
}

const relay_sound *relay_jitter_pull(relay_jitter *jitter, int *why)
{
    *why = JITTER_DRY;
    if (jitter->hold && jitter->count < jitter->most) {
        jitter->hold = 0;
        return NULL;
    }
    int at = find(jitter, jitter->next);
    if (at < 0) {
        if (!jitter->count) {
            jitter->concealed += PULL_MS * jitter->begun;
            return NULL;
        }
        /* Step over what is missing: for nothing as far as it was concealed while the buffer was dry. */
        while (jitter->concealed >= jitter->span && find(jitter, jitter->next) < 0) {
            jitter->concealed -= jitter->span;
            miss(jitter);
        }
        at = find(jitter, jitter->next);
        if (at < 0) {
            miss(jitter);
            *why = JITTER_LOST;
            return NULL;
        }
    }
    const relay_sound *sound = drop(jitter, at);
    if (jitter->concealed) {
        jitter->concealed = 0;
        grow_patient(jitter);
    }
    jitter->next++;
    if (jitter->count < jitter->least)
        jitter->least = jitter->count;
    if (++jitter->pulls >= jitter->patience)
        look_back(jitter);
    return sound;
}

const relay_sound *relay_jitter_following(const relay_jitter *jitter)
{
    int at = find(jitter, jitter->next);
    return at < 0 ? NULL : &jitter->held[at];
}

int relay_jitter_take(relay_jitter *jitter, int16_t *samples, uint32_t size, const relay_law laws[2])
{
    const relay_sound *sound = relay_jitter_following(jitter);
    int why;
    /* Not while a pull may be left out, be merged with another, or look back and ask for that. */
    if (!sound || jitter->hold || jitter->hurry || jitter->pulls + 1 >= jitter->patience || sound->size != size)
        return 0;
    const int16_t *linear = sound->name == laws[0].name ? laws[0].linear : sound->name == laws[1].name ? laws[1].linear : NULL;
    if (!linear)
        return 0;
    if (jitter->span != PULL_MS)
        relay_jitter_span(jitter, PULL_MS);
    sound = relay_jitter_pull(jitter, &why);
    for (uint32_t i = 0; i < size; i++)
        samples[i] = linear[sound->data[i]];
    return 1;
}
