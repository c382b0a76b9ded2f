/* The jitter buffer of one voice; see rtp.jitter, whose names these are. */
#ifndef AT110_JITTER_H
#define AT110_JITTER_H

#include <stdint.h>

enum { JITTER_FRAMES = 40, JITTER_REMEMBERED = 32 }; /* as rtp.jitter.MAX_FRAMES, REMEMBERED */
enum { JITTER_LOST = 1, JITTER_DRY = 2 };

typedef struct {
    uint16_t sequence;
    uint8_t name; /* of its codec: a number Python gave it */
    uint32_t size, room;
    unsigned char *data;
} relay_sound;

typedef struct {
    relay_sound held[JITTER_FRAMES + 1]; /* in no order; those behind `count` keep their memory */
    uint16_t missed[JITTER_REMEMBERED];  /* `_lost`, oldest first */
    int count, missed_count;
    int64_t late, lost, overflown;
    int64_t concealed;
    int strange, pulls, least, patience;
    int span, most; /* ms of a packet, and how many may wait: see relay_jitter_span */
    uint16_t next;
    uint8_t begun, hurry, hold, rushed;
} relay_jitter;

void relay_jitter_open(relay_jitter *jitter);
void relay_jitter_close(relay_jitter *jitter);

/* Take note of the ms of sound in a packet, 1 at least. */
void relay_jitter_span(relay_jitter *jitter, int ms);

/* 1, or 0 when there was no memory for it, which is a packet lost. */
int relay_jitter_push(relay_jitter *jitter, uint16_t sequence, uint8_t name, const unsigned char *data, uint32_t size);

/* The packet whose turn it is, readable until the next push; NULL: see `why`. */
const relay_sound *relay_jitter_pull(relay_jitter *jitter, int *why);

/* One of the two codecs of ITU-T G.711: its name's number, and its table, by code. */
typedef struct {
    uint8_t name;
    const int16_t *linear;
} relay_law;

/* Pull a sound of just so many bytes in one of two codecs as `samples`; 0, and nothing is pulled, where anything needs a second look. */
int relay_jitter_take(relay_jitter *jitter, int16_t *samples, uint32_t size, const relay_law laws[2]);
const relay_sound *relay_jitter_following(const relay_jitter *jitter);

#endif
