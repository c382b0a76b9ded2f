# relay.h and what its Python face needs of C, as Cython sees them.

from libc.stdint cimport int16_t, int64_t, uint16_t, uint32_t, uint64_t


cdef extern from "jitter.h" nogil:
    enum: JITTER_LOST

    ctypedef struct relay_sound:
        uint16_t sequence
        unsigned char name
        uint32_t size
        unsigned char *data
    ctypedef struct relay_jitter:
        relay_sound *held
        uint16_t next
        int count, patience, span
        int64_t late, lost, overflown
        unsigned char begun, hurry, rushed

    void relay_jitter_open(relay_jitter *)
    void relay_jitter_span(relay_jitter *, int)
    void relay_jitter_close(relay_jitter *)
    int relay_jitter_push(relay_jitter *, uint16_t, unsigned char, const unsigned char *, uint32_t)
    const relay_sound *relay_jitter_pull(relay_jitter *, int *)
    ctypedef struct relay_law:
        unsigned char name
        const int16_t *linear
    int relay_jitter_take(relay_jitter *, int16_t *, uint32_t, const relay_law *)
    const relay_sound *relay_jitter_following(const relay_jitter *)


cdef extern from "relay.h" nogil:
    enum: RELAY_HEADER, RELAY_PAYLOAD, RELAY_ROUTES, RELAY_TAPES, RELAY_PHASES, RELAY_MEDIA, ROUTE_VOICE

    ctypedef struct relay_source:
        int64_t ssrc, gaps, transit, received_prior
    ctypedef struct relay_out:
        int64_t ssrc, ahead
        double at
    ctypedef struct relay_head:
        unsigned char *bytes
        uint32_t size, ip_sum, udp_sum, note_size
        const unsigned char *note
    ctypedef struct relay_tape:
        int64_t packets
        relay_head *heads
    ctypedef struct relay_taken:
        unsigned char *bytes
        size_t used
        int64_t packets, left_out, left_out_first, left_out_last
    ctypedef struct relay_flow:
        int fd
        unsigned char lent, direct, straight, deferred, route_count, tape_count
        relay_source *source
        relay_flow *destination
        relay_jitter *voice
        int64_t number
        double heard, permitted_until, seconds_per_byte
        int64_t flooded, flood_stated, taken, gaps_seen
        unsigned char picture, asking
        relay_tape **tapes
        uint32_t *ways
        relay_out *out
        int64_t packets, octets, failed
        relay_tape *out_tape
        uint32_t out_way, stand, unheard_size
        unsigned char *unheard
    ctypedef struct relay_film:
        const unsigned char **frames
        uint32_t *sizes
        int count
    ctypedef struct relay_reel:
        relay_flow *flow
        const relay_film *film
        int next, endless
        int64_t source, rate, step
        int payload_type
        uint32_t stand
        int64_t sent
    ctypedef struct relay_leg:
        relay_reel reel
        relay_out *out
        double rtcp_due, report_due
        int busy, flow_count
        relay_flow **flows
    ctypedef struct relay_phase:
        relay_leg **legs
        int *found
        int count, found_count
        double fill
    ctypedef struct relay_beats:
        relay_phase **phases
        double started, step, late
        int64_t number
        relay_phase *restless
    ctypedef struct relay_odd:
        relay_flow *flow
        uint32_t offset, size
    ctypedef struct relay_loop:
        double now, looked, vacant
        int ready_count, odd_count
        int *ready
        relay_odd *odd
        unsigned char *odd_bytes
        relay_beats beats
        int64_t relayed, sunk, voiced, handed

    int relay_loop_open(relay_loop *, int, int)
    void relay_loop_close(relay_loop *)
    int relay_loop_put(relay_loop *, int, relay_flow *)
    int relay_turn(relay_loop *, double)
    int relay_phase_room(relay_phase *, int)
    void relay_phase_close(relay_phase *)
    int relay_restless(relay_phase *, double)
    int relay_stirred(relay_phase *, double, double)
    int relay_beat(relay_beats *, double)
    int relay_collect(relay_loop *, double, double, double)
    int relay_steady(relay_flow *, int64_t, int, int64_t, int64_t, const unsigned char *, size_t, double)
    int relay_steady_samples(relay_flow *, int64_t, int, int64_t, int64_t, const int16_t *, size_t, const unsigned char *, double)
    int relay_play(relay_reel *, double)
    void relay_be_prompt()
    int relay_serve(relay_loop *, relay_flow *, double, double, double)
    int relay_tape_open(relay_tape *, size_t)
    void relay_tape_close(relay_tape *)
    void relay_tape_put(relay_tape *, int64_t, uint32_t, const unsigned char *, size_t)
    void relay_tape_take(relay_tape *, relay_taken *)
    void relay_tape_give(relay_taken *)
    int relay_tape_write(relay_tape *, int, int64_t, relay_taken *, size_t *)


cdef extern from * nogil:
    """
    #include <stdlib.h>
    #define SET_ROUTE(flow, i, a, b, c, d, e) ((flow)->routes[i] = (relay_route){(a), (b), (c), (e), (d)})
    """
    void SET_ROUTE(relay_flow *, int, int, int, int, int, int)
    void *realloc(void *, size_t)
    void free(void *)
