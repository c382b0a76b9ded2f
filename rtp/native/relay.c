#define _GNU_SOURCE
#include "relay.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* As rtp.flood.LEAST: a shower of tiny packets costs what they do to us, not what they weigh. */
#define FLOOD_LEAST 40
#define FLOOD_BURST 1.0   /* BURST_SECONDS */
#define FLOOD_WAITED 10.0 /* WAITED_SECONDS */

double relay_monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int64_t relay_wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t word(const unsigned char *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static void put_word(unsigned char *data, uint32_t value)
{
    data[0] = (unsigned char)(value >> 24), data[1] = (unsigned char)(value >> 16);
    data[2] = (unsigned char)(value >> 8), data[3] = (unsigned char)value;
}

int relay_flood(relay_flow *flow, size_t size, const relay_loop *loop)
{
    if (flow->seconds_per_byte <= 0)
        return 0;
    double until = flow->permitted_until;
    double since = flow->heard < loop->looked ? loop->vacant : loop->now - FLOOD_WAITED;
    if (until < since)
        until = since;
    if (until > loop->now + FLOOD_BURST) {
        flow->flooded++;
        flow->heard = loop->now;
        return 1;
    }
    size_t weight = size > FLOOD_LEAST ? size : FLOOD_LEAST;
    flow->permitted_until = until + (double)weight * flow->seconds_per_byte;
    return 0;
}

/* RFC 3550 A.8 in integers, for a packet that follows its predecessor; as in rtp.track and rtp.source. */
static void count(relay_source *source, int64_t sequence, uint32_t timestamp, int64_t rate, double now)
{
    source->highest = sequence;
    source->count++;
    int64_t transit = (uint32_t)((int64_t)(now * (double)rate) - (int64_t)timestamp);
    int64_t change = transit - source->transit;
    if (change < 0)
        change = -change;
    if (change >= 0x80000000LL)
        change = 0x100000000LL - change;
    source->jitter16 += change - ((source->jitter16 + 8) >> 4);
    source->transit = transit;
}

static void number(const relay_out *out, unsigned char *data)
{
    data[2] = (unsigned char)(out->sequence >> 8), data[3] = (unsigned char)out->sequence;
    put_word(data + 4, (uint32_t)out->timestamp);
    put_word(data + 8, (uint32_t)out->ssrc);
}

void relay_leave(relay_flow *to, const unsigned char *data, size_t size)
{
    ssize_t sent = send(to->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        to->failed++;
    else {
        to->packets++;
        to->octets += sent - RELAY_HEADER;
        if (to->out_tape)
            relay_tape_put(to->out_tape, relay_wall_ns(), to->out_way, data, size);
    }
}

int relay_follow(relay_flow *flow, unsigned char *data, size_t size, double now)
{
    if (size < RELAY_HEADER || (data[0] & 0xC0) != 0x80)
        return FOLLOW_ODD;
    int payload_type = data[1] & 0x7F;
    const relay_route *route = NULL;
    for (int i = 0; i < flow->route_count; i++)
        if (flow->routes[i].from == payload_type) {
            route = &flow->routes[i];
            break;
        }
    if (!route)
        return FOLLOW_ODD;
    int64_t sequence = data[2] << 8 | data[3];
    uint32_t timestamp = word(data + 4);
    relay_source *source = flow->source;
    if (sequence != source->highest + 1 || word(data + 8) != source->ssrc || route->rate != source->rate)
        return FOLLOW_ODD;
    relay_flow *to = flow->destination;
    if (route->kind == ROUTE_RELAY) {
        if (!to || !to->straight || to->out->source != flow->number)
            return FOLLOW_ODD;
        if (route->longest && size > RELAY_HEADER + 8U * route->longest)
            return FOLLOW_ODD;
    } else if (route->kind == ROUTE_VOICE ? data[0] != RELAY_PLAIN : size > RELAY_UNHEARD)
        return FOLLOW_ODD;

    flow->heard = now;
    flow->taken += (int64_t)size;
    if (flow->tape_count) {
        int64_t at = relay_wall_ns();
        for (int i = 0; i < flow->tape_count; i++)
            relay_tape_put(flow->tapes[i], at, flow->ways[i], data, size);
    }
    count(source, sequence, timestamp, route->rate, now);
    if (route->kind == ROUTE_VOICE) {
        relay_jitter_push(flow->voice, (uint16_t)sequence, route->to, data + RELAY_HEADER, (uint32_t)(size - RELAY_HEADER));
        return FOLLOW_VOICE;
    }
    if (route->kind == ROUTE_SINK) {
        memcpy(flow->unheard, data, size);
        flow->unheard_size = (uint32_t)size;
        return FOLLOW_SINK;
    }
    relay_out *out = to->out;
    out->sequence = (sequence + out->sequence_offset) & 0xFFFF;
    out->timestamp = (timestamp + out->timestamp_offset) & 0xFFFFFFFF;
    out->at = now;
    data[1] = (data[1] & 0x80) | route->to;
    number(out, data);
    return FOLLOW_ONWARD;
}

int relay_steady(relay_flow *flow, int64_t source, int payload_type, int64_t rate, int64_t step, const unsigned char *payload,
                 size_t size, double now)
{
    relay_out *out = flow->out;
    if (out->source != source || !out->relaying || out->rate != rate || !flow->straight || size > RELAY_UNHEARD)
        return 0;
    if (!((now - out->at) * (double)rate <= (double)(3 * step))) /* so that NaN is Python's */
        return 0;
    unsigned char data[RELAY_HEADER + RELAY_UNHEARD];
    out->sequence = (out->sequence + 1) & 0xFFFF;
    out->timestamp = (out->timestamp + step) & 0xFFFFFFFF;
    out->at = now;
    data[0] = RELAY_PLAIN, data[1] = (unsigned char)payload_type;
    memcpy(data + RELAY_HEADER, payload, size);
    number(out, data);
    relay_leave(flow, data, size + RELAY_HEADER);
    return 1;
}

int relay_steady_samples(relay_flow *flow, int64_t source, int payload_type, int64_t rate, int64_t step, const int16_t *samples,
                         size_t count, const unsigned char *codes, double now)
{
    unsigned char payload[RELAY_UNHEARD];
    if (count > sizeof payload)
        return 0;
    for (size_t i = 0; i < count; i++)
        payload[i] = codes[(uint16_t)samples[i]];
    return relay_steady(flow, source, payload_type, rate, step, payload, count, now);
}

int relay_play(relay_reel *reel, double now)
{
    relay_flow *flow = reel->flow;
    if (!flow || !flow->direct || flow->stand != reel->stand || (!reel->endless && reel->next >= reel->film->count))
        return 0;
    relay_out *out = flow->out;
    int frame = reel->endless ? 0 : reel->next;
    size_t size = reel->film->sizes[frame];
    if (out->source != reel->source || out->relaying || size > RELAY_UNHEARD)
        return 0;
    /* As rtp.outstream.local: after a stall, time has passed that no packet stands for. NaN is Python's too. */
    if (!((now - out->at) * (double)reel->rate < (double)(3 * reel->step + 1)))
        return 0;
    unsigned char data[RELAY_HEADER + RELAY_UNHEARD];
    out->sequence = (out->sequence + 1) & 0xFFFF;
    out->timestamp = (out->timestamp + reel->step) & 0xFFFFFFFF;
    out->at = now;
    out->rate = reel->rate;
    reel->next++;
    reel->sent++;
    data[0] = RELAY_PLAIN, data[1] = (unsigned char)reel->payload_type;
    number(out, data);
    memcpy(data + RELAY_HEADER, reel->film->frames[frame], size);
    relay_leave(flow, data, size + RELAY_HEADER);
    return 1;
}
