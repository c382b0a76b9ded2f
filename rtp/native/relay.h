/* The packet road of the native engine: what a track has decided, and packets that follow it, without the interpreter.
 *
 * Everything here belongs to one thread, the media loop's: while `relay_turn` runs no Python of that thread does, so the
 * records below have one owner at any moment and need no lock. Tapes alone are shared (with the evidence thread) and have one.
 */
#ifndef AT110_RELAY_H
#define AT110_RELAY_H

#include "jitter.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RELAY_DATAGRAM = 9216,       /* bytes read of one datagram; as rtp.track.DATAGRAM */
    RELAY_HEADER = 12,           /* RFC 3550 section 5.1, without CSRCs */
    RELAY_PAYLOAD = 65535 - 48,  /* bytes that fit behind the headers of a block; as recordings.pcapng.MAX_PAYLOAD */
    RELAY_PLAIN = 0x80,          /* first octet of a packet without padding, extension and contributing sources */
    RELAY_ROUTES = 8,            /* payload types of one flow that need no Python; more go the slow way */
    RELAY_TAPES = 2,             /* captures one received packet belongs to: its own call's and its partner's */
    RELAY_UNHEARD = 2048,        /* the newest packet that went to nobody; RTP keeps below 1,500 bytes */
    RELAY_READY = 512,           /* descriptors served in one round; as rtp.loop.MAX_READY */
    RELAY_BATCH = 16,            /* sockets of which one datagram each is read, before all of them are sent */
    RELAY_PHASES = 4,            /* groups of legs that have their beat at the same moment; as rtp.engine.PHASES */
    RELAY_MEDIA = 2,             /* of a leg: sound and picture */
    RELAY_ODD = 256,             /* odd packets handed over in one round */
    RELAY_ODD_BYTES = 512 * 1024 /* and their bytes: what does not fit stays in its socket for the next round */
};

/* As rtp.source.Source; same names. */
typedef struct {
    int64_t ssrc, rate, gaps, highest, cycles, count, jitter16, transit;
    int64_t bad, base, expected_before, expected_prior, received_before, received_prior;
} relay_source;

/* As rtp.outstream.OutStream; same names. `at` is NaN before the first packet. */
typedef struct {
    int64_t ssrc, sequence, timestamp, rate, source, relaying, sequence_offset, timestamp_offset;
    int64_t offset_source, floor, ahead;
    double at;
} relay_out;

/* What is the same in every block of a capture between two addresses: all up to the payload, with lengths, time and checksums 0. */
typedef struct {
    unsigned char bytes[76]; /* of an IPv6 one: 28 of the block, 40 and 8 of its headers */
    uint32_t size;           /* 56 or 76 */
    uint32_t ip_sum, udp_sum;
    uint32_t note_size;
    const unsigned char *note; /* options behind the payload, end of options included */
} relay_head;

/* What evidence of one call waits for its file: blocks, as they will stand in it. */
typedef struct {
    pthread_mutex_t lock;
    unsigned char *bytes;
    size_t used, room, limit;
    int64_t left_out, left_out_first, left_out_last; /* packets that found it full; ns of the first and the last */
    int64_t packets;                                 /* blocks that wait */
    /* The media loop's own: heads by the number of a pair of addresses, and where the last block ended, a guess at where the next
     * goes to ask memory for. */
    relay_head *heads;
    const unsigned char *next;
} relay_tape;

/* What was taken off a tape. */
typedef struct {
    unsigned char *bytes;
    size_t used, room;
    int64_t packets, left_out, left_out_first, left_out_last;
} relay_taken;

enum { ROUTE_SINK = 0, ROUTE_RELAY = 1, ROUTE_VOICE = 2 }; /* VOICE: `to` is the number of the codec's name */

typedef struct {
    uint8_t from, to, kind;
    uint8_t longest; /* ms of 8 octets a packet may hold to be relayed; 0: any */
    int32_t rate;
} relay_route;

typedef struct relay_flow relay_flow;
struct relay_flow {
    /* what arrives */
    int fd;
    uint8_t lent;     /* connected to the believed source: relay_turn reads it */
    uint8_t direct;   /* what is sent on this flow leaves as it is, on a connected socket */
    uint8_t straight; /* so does what is relayed to it, now */
    uint8_t deferred; /* watched by `later`: read when a mix asks for it */
    uint8_t route_count, tape_count;
    relay_route routes[RELAY_ROUTES];
    relay_source *source;
    relay_flow *destination;
    relay_jitter *voice; /* where sound goes that is only mixed */
    int64_t number; /* of the peer as a source (see rtp.outstream) */
    double heard;   /* monotonic seconds of the newest packet */
    double permitted_until, seconds_per_byte; /* see rtp.flood */
    int64_t flooded, flood_stated;
    int64_t taken; /* bytes believed */
    int64_t gaps_seen; /* of the source, when a sweep looked at it last */
    uint8_t picture, asking; /* it carries pictures; its peer is to be asked for one */
    relay_tape *tapes[RELAY_TAPES];
    uint32_t ways[RELAY_TAPES];
    /* what leaves */
    relay_out *out;
    int64_t packets, octets, failed;
    relay_tape *out_tape;
    uint32_t out_way;
    uint32_t stand; /* another one whenever something was decided about what leaves */
    /* the newest packet that went to nobody */
    uint32_t unheard_size;
    unsigned char unheard[RELAY_UNHEARD];
};

/* 20 ms payloads that follow each other: a prompt in one codec, shared by all who hear it. */
typedef struct {
    const unsigned char **frames;
    uint32_t *sizes;
    int count;
} relay_film;

/* What a leg is played beat by beat, as Python began it; over whenever anything else was sent or decided meanwhile. */
typedef struct {
    relay_flow *flow; /* NULL: nothing */
    const relay_film *film;
    int next, endless; /* endless: its one frame again and again */
    int64_t source, rate, step;
    int payload_type;
    uint32_t stand; /* of the flow, when it was begun */
    int64_t sent;
} relay_reel;

/* What beats and sweeps ask of a leg. */
typedef struct {
    relay_reel reel;
    relay_out *out; /* of its sound; NULL: it has none */
    double rtcp_due, report_due;
    int busy, flow_count;
    relay_flow *flows[RELAY_MEDIA];
} relay_leg;

/* Legs that have their beat at the same moment, and which of them were found by the last look. */
typedef struct {
    relay_leg **legs;
    int *found;
    int count, found_count;
    double fill; /* seconds without relayed sound after which a leg is sent silence */
} relay_phase;

/* Beats of all phases in turn on a grid; `step` 0: somebody else keeps it. `restless`: the phase of the last beat, while some of it is
 * Python's. */
typedef struct {
    relay_phase *phases[RELAY_PHASES];
    double started, step, late;
    int64_t number;
    relay_phase *restless;
} relay_beats;

typedef struct {
    relay_flow *flow;
    uint32_t offset, size;
} relay_odd;

typedef struct {
    int poll, later; /* epoll descriptors: of what is served as it comes, and of what is deferred */
    relay_flow **flows; /* by descriptor */
    int flow_room;
    double now;
    double looked, vacant; /* as of rtp.loop.Loop */
    double before;         /* `now` before the newest look at `poll` … */
    int whole;             /* … which saw, and served, all there was */
    int ready_count, odd_count;
    int ready[RELAY_READY];
    relay_odd odd[RELAY_ODD];
    uint32_t odd_used;
    unsigned char *odd_bytes;
    /* gathering */
    double look_at, gathering; /* seconds from one wake-up to the next; 0: each packet is served when it comes */
    int64_t served;
    relay_beats beats;
    int64_t relayed, sunk, voiced, handed; /* packets since the start: sent on, counted, put into a mix, handed to Python */
} relay_loop;

/* 0, or an errno. */
int relay_loop_open(relay_loop *loop, int poll, int later);
void relay_loop_close(relay_loop *loop);
int relay_loop_put(relay_loop *loop, int fd, relay_flow *flow); /* flow NULL: forget the descriptor */

/* Room for so many legs; 0, or -1 and what is there stays as it is. */
int relay_phase_room(relay_phase *phase, int count);
void relay_phase_close(relay_phase *phase);

/* Send what is played to legs by itself, and find those whose beat is Python's: how many. */
int relay_restless(relay_phase *phase, double now);

/* Find the legs whose sweep may have something to do: a report is due, or a flow is not lent, silent for `quiet` seconds, flooded or
 * wants a picture. */
int relay_stirred(relay_phase *phase, double now, double quiet);

double relay_beat_due(const relay_beats *beats);

/* Keep the beat, if one is due; 1: legs of it are Python's. */
int relay_beat(relay_beats *beats, double now);

/* Serve packets and beats until Python has something to do or `deadline` (monotonic seconds) has passed; 0, or an errno. */
int relay_turn(relay_loop *loop, double deadline);

/* Serve what waits at deferred descriptors once; how many there were, or a negative errno. */
int relay_collect(relay_loop *loop, double now, double looked, double vacant);

/* Send 20 ms that were made here and go on where this source left off, as rtp.sender.Sender.steady; 0: that is Python's. */
int relay_steady(relay_flow *flow, int64_t source, int payload_type, int64_t rate, int64_t step, const unsigned char *payload,
                 size_t size, double now);

/* The same with samples that are to be encoded; `codes`: G.711, by the bits of a sample. */
int relay_steady_samples(relay_flow *flow, int64_t source, int payload_type, int64_t rate, int64_t step, const int16_t *samples,
                         size_t count, const unsigned char *codes, double now);

/* Send the next 20 ms, as rtp.sender.Sender.local_frame; 0: this beat is Python's. */
int relay_play(relay_reel *reel, double now);

/* Read one datagram of one flow, at a time given from outside: what tests do in place of `relay_turn`. */
int relay_serve(relay_loop *loop, relay_flow *flow, double now, double looked, double vacant);

/* Whether a datagram of so many bytes is above the permitted rate (rtp.flood). */
int relay_flood(relay_flow *flow, size_t size, const relay_loop *loop);

enum { FOLLOW_ODD = 0, FOLLOW_ONWARD, FOLLOW_VOICE, FOLLOW_SINK };
/* Do with one datagram what was decided; ONWARD: it is numbered in place and is to leave at the flow's destination, ODD: it is Python's. */
int relay_follow(relay_flow *flow, unsigned char *data, size_t size, double now);

/* Send a numbered packet. */
void relay_leave(relay_flow *to, const unsigned char *data, size_t size);

/* Ask the kernel to let this thread run soon rather than long, and sleep no longer than it says; where it can't, nothing changes. */
void relay_be_prompt(void);

double relay_monotonic(void);
int64_t relay_wall_ns(void);

int relay_tape_open(relay_tape *tape, size_t limit);
void relay_tape_close(relay_tape *tape);
void relay_tape_put(relay_tape *tape, int64_t at_ns, uint32_t way, const unsigned char *data, size_t size);

/* Take all that is there, for another thread to read; to be given back. */
void relay_tape_take(relay_tape *tape, relay_taken *taken);
void relay_tape_give(relay_taken *taken);

/* Take all and write it behind the end of a file; -1 with nothing done when that is elsewhere, else 0 or an errno, and how many bytes
 * went in. What was taken is to be given back unless it is -1. */
int relay_tape_write(relay_tape *tape, int fd, int64_t end, relay_taken *taken, size_t *written);

size_t relay_block_size(const relay_head *head, uint32_t size);
/* Write the block of one payload; as many bytes as `relay_block_size` says. */
size_t relay_block_put(unsigned char *out, const relay_head *head, int64_t at_ns, const unsigned char *data, uint32_t size);

#endif
