#define _GNU_SOURCE
#include "relay.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

/* As rtp.loop: above so many datagrams a second let a few gather before they are served, for so long. */
#define GATHER_RATE 4000
#define GATHER_NS 600000
#define AHEAD 6 /* flows asked of memory before they are served */
#define NEAR 2  /* and what they point to */
#define GATHER_ENOUGH 64
#define LOOK_SECONDS 0.1

/* As rtp.flood.LEAST: a shower of tiny packets costs what they do to us, not what they weigh. */
#define FLOOD_LEAST 40

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

/* --- one packet ------------------------------------------------------------------------------------------------- */

static uint32_t word(const unsigned char *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static void put_word(unsigned char *data, uint32_t value)
{
    data[0] = (unsigned char)(value >> 24), data[1] = (unsigned char)(value >> 16);
    data[2] = (unsigned char)(value >> 8), data[3] = (unsigned char)value;
}

/* Whether a datagram of so many bytes is above the permitted rate (rtp.flood). */
static int flood(relay_flow *flow, size_t size, double now)
{
    if (flow->seconds_per_byte <= 0)
        return 0;
    double until = flow->permitted_until;
    if (until < now)
        until = now;
    else if (until - now > flow->burst) {
        flow->flooded++;
        flow->heard = now;
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

/* Number a packet and send it. */
static void leave(relay_flow *to, unsigned char *data, size_t size)
{
    const relay_out *out = to->out;
    data[2] = (unsigned char)(out->sequence >> 8), data[3] = (unsigned char)out->sequence;
    put_word(data + 4, (uint32_t)out->timestamp);
    put_word(data + 8, (uint32_t)out->ssrc);
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

/* What one datagram is: sent on or counted (1), or Python's (0). Writes into `data`. */
static int follow(relay_flow *flow, unsigned char *data, size_t size, double now)
{
    if (size < RELAY_HEADER || (data[0] & 0xC0) != 0x80)
        return 0;
    int payload_type = data[1] & 0x7F;
    const relay_route *route = NULL;
    for (int i = 0; i < flow->route_count; i++)
        if (flow->routes[i].from == payload_type) {
            route = &flow->routes[i];
            break;
        }
    if (!route)
        return 0;
    int64_t sequence = data[2] << 8 | data[3];
    uint32_t timestamp = word(data + 4);
    relay_source *source = flow->source;
    if (sequence != source->highest + 1 || word(data + 8) != source->ssrc || route->rate != source->rate)
        return 0;
    relay_flow *to = flow->destination;
    if (route->kind == ROUTE_RELAY) {
        if (!to || !to->straight || to->out->source != flow->number)
            return 0;
    } else if (route->kind == ROUTE_VOICE ? data[0] != RELAY_PLAIN : size > RELAY_UNHEARD)
        return 0;

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
        return 1;
    }
    if (route->kind == ROUTE_SINK) {
        memcpy(flow->unheard, data, size);
        flow->unheard_size = (uint32_t)size;
        return 1;
    }
    relay_out *out = to->out;
    out->sequence = (sequence + out->sequence_offset) & 0xFFFF;
    out->timestamp = (timestamp + out->timestamp_offset) & 0xFFFFFFFF;
    out->at = now;
    data[1] = (data[1] & 0x80) | route->to;
    leave(to, data, size);
    return 1;
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
    leave(flow, data, size + RELAY_HEADER);
    return 1;
}

/* --- the loop --------------------------------------------------------------------------------------------------- */

int relay_loop_open(relay_loop *loop, int poll, int later)
{
    memset(loop, 0, sizeof *loop);
    loop->poll = poll;
    loop->later = later;
    loop->odd_bytes = malloc(RELAY_ODD_BYTES);
    return loop->odd_bytes ? 0 : ENOMEM;
}

void relay_loop_close(relay_loop *loop)
{
    free(loop->odd_bytes);
    free(loop->flows);
    loop->odd_bytes = NULL;
    loop->flows = NULL;
    loop->flow_room = 0;
}

int relay_loop_put(relay_loop *loop, int fd, relay_flow *flow)
{
    if (fd < 0)
        return EBADF;
    if (fd >= loop->flow_room) {
        int room = loop->flow_room ? loop->flow_room : 256;
        if (!flow)
            return 0;
        while (room <= fd)
            room *= 2;
        relay_flow **flows = realloc(loop->flows, (size_t)room * sizeof *flows);
        if (!flows)
            return ENOMEM;
        memset(flows + loop->flow_room, 0, (size_t)(room - loop->flow_room) * sizeof *flows);
        loop->flows = flows;
        loop->flow_room = room;
    }
    loop->flows[fd] = flow;
    return 0;
}

int relay_lend(relay_loop *loop, relay_flow *flow, int lent)
{
    if (flow->lent == lent)
        return 0;
    /* epoll_ctl(2): a modified descriptor that is readable is reported anew, so nothing that waits is forgotten. */
    struct epoll_event event = {.events = lent ? EPOLLIN | EPOLLET : EPOLLIN, .data.fd = flow->fd};
    if (epoll_ctl(flow->deferred ? loop->later : loop->poll, EPOLL_CTL_MOD, flow->fd, &event) < 0)
        return errno;
    flow->lent = (uint8_t)lent;
    return 0;
}

static void hand_over(relay_loop *loop, relay_flow *flow, const unsigned char *data, size_t size)
{
    memcpy(loop->odd_bytes + loop->odd_used, data, size);
    loop->odd[loop->odd_count++] = (relay_odd){flow, loop->odd_used, (uint32_t)size};
    loop->odd_used += (uint32_t)size;
    loop->handed++;
}

static void remember(relay_loop *loop, relay_flow *flow)
{
    if (flow->more)
        return;
    if (loop->more_count < RELAY_READY) {
        flow->more = 1;
        loop->more[loop->more_count++] = flow->fd;
    } else {
        /* No place left: let epoll tell of what waits as if it had just come. */
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = flow->fd};
        epoll_ctl(flow->deferred ? loop->later : loop->poll, EPOLL_CTL_MOD, flow->fd, &event);
    }
}

/* Read one batch of a flow that is lent; how many datagrams. What follows an odd packet is Python's too, in order. */
static int serve(relay_loop *loop, relay_flow *flow)
{
    if (loop->odd_count > RELAY_ODD - RELAY_BATCH || RELAY_ODD_BYTES - loop->odd_used < RELAY_BATCH * RELAY_DATAGRAM) {
        remember(loop, flow);
        return 0;
    }
    static _Thread_local unsigned char data[RELAY_BATCH][RELAY_DATAGRAM];
    struct iovec parts[RELAY_BATCH];
    struct mmsghdr messages[RELAY_BATCH];
    for (int i = 0; i < RELAY_BATCH; i++) {
        parts[i] = (struct iovec){data[i], RELAY_DATAGRAM};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
    }
    int count = recvmmsg(flow->fd, messages, RELAY_BATCH, MSG_DONTWAIT, NULL);
    if (count < 0) {
        /* Nothing there after all; or the peer's system says that nobody listens there (ICMP), and packets may lie behind that. */
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            remember(loop, flow);
        return 0;
    }
    int odd = 0;
    for (int i = 0; i < count; i++) {
        size_t size = messages[i].msg_len;
        if (flood(flow, size, loop->now))
            continue;
        odd = odd || !follow(flow, data[i], size, loop->now);
        if (odd)
            hand_over(loop, flow, data[i], size);
        else if (flow->destination)
            loop->relayed++;
        else if (flow->voice)
            loop->voiced++;
        else
            loop->sunk++;
    }
    if (count == RELAY_BATCH)
        remember(loop, flow);
    return count;
}

int relay_serve(relay_loop *loop, relay_flow *flow, double now)
{
    loop->odd_count = 0;
    loop->odd_used = 0;
    loop->now = now;
    return serve(loop, flow);
}

static int serve_more(relay_loop *loop)
{
    int count = loop->more_count, served = 0;
    int waiting[RELAY_READY];
    memcpy(waiting, loop->more, (size_t)count * sizeof *waiting);
    loop->more_count = 0;
    for (int i = 0; i < count; i++) {
        relay_flow *flow = waiting[i] < loop->flow_room ? loop->flows[waiting[i]] : NULL;
        if (flow && flow->more) {
            flow->more = 0;
            if (flow->lent)
                served += serve(loop, flow);
        }
    }
    return served;
}

/* 400 flows and a network stack do not fit the caches: ask for what the next packets need while this one is served. */
static void fetch(const void *start, size_t size)
{
    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch((const char *)start + at, 1);
}

static void fetch_flow(const relay_loop *loop, int fd)
{
    if (fd < loop->flow_room && loop->flows[fd])
        fetch(loop->flows[fd], offsetof(relay_flow, unheard));
}

static void fetch_numbers(const relay_loop *loop, int fd)
{
    const relay_flow *flow = fd < loop->flow_room ? loop->flows[fd] : NULL;
    if (!flow || !flow->lent)
        return;
    fetch(flow->source, sizeof *flow->source);
    const relay_flow *to = flow->destination;
    if (to) {
        fetch(to, offsetof(relay_flow, unheard));
        fetch(to->out, sizeof *to->out);
    }
}

int relay_collect(relay_loop *loop, double now)
{
    struct epoll_event events[RELAY_READY];
    loop->ready_count = loop->odd_count = 0;
    loop->odd_used = 0;
    loop->now = now;
    int count = epoll_wait(loop->later, events, RELAY_READY, 0);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        relay_flow *flow = fd < loop->flow_room ? loop->flows[fd] : NULL;
        if (i + AHEAD < count)
            fetch_flow(loop, events[i + AHEAD].data.fd);
        if (!flow || !flow->lent)
            loop->ready[loop->ready_count++] = fd;
        else
            serve(loop, flow);
    }
    return count;
}

static void gather(relay_loop *loop, int served)
{
    loop->served += served;
    if (loop->now >= loop->look_at) {
        loop->gathering = (double)loop->served > GATHER_RATE * LOOK_SECONDS;
        loop->served = 0;
        loop->look_at = loop->now + LOOK_SECONDS;
    }
    if (loop->gathering && served < GATHER_ENOUGH && !loop->more_count) {
        struct timespec pause = {0, GATHER_NS};
        nanosleep(&pause, NULL);
    }
}

int relay_turn(relay_loop *loop, double deadline)
{
    struct epoll_event events[RELAY_READY];
    loop->ready_count = loop->odd_count = 0;
    loop->odd_used = 0;
    double before = relay_monotonic();
    for (;;) {
        double left = deadline - before;
        int wait = left <= 0 || loop->more_count ? 0 : (int)ceil(left * 1000);
        int count = epoll_wait(loop->poll, events, RELAY_READY, wait);
        loop->now = before = relay_monotonic();
        if (count < 0)
            return errno == EINTR ? 0 : errno; /* a signal: Python looks what it was */
        int served = loop->more_count ? serve_more(loop) : 0;
        for (int i = 0; i < count && i < AHEAD; i++)
            fetch_flow(loop, events[i].data.fd);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (i + AHEAD < count)
                fetch_flow(loop, events[i + AHEAD].data.fd);
            if (i + NEAR < count)
                fetch_numbers(loop, events[i + NEAR].data.fd);
            relay_flow *flow = fd < loop->flow_room ? loop->flows[fd] : NULL;
            if (!flow || !flow->lent)
                loop->ready[loop->ready_count++] = fd;
            else
                served += serve(loop, flow);
        }
        served += loop->ready_count;
        if (loop->ready_count || loop->odd_count || loop->now >= deadline) {
            loop->served += served;
            return 0;
        }
        gather(loop, served);
    }
}
