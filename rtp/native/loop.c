/* The waiting and reading of the native engine: epoll, batches of datagrams, a grid of wake-ups when there is much to do. */
#define _GNU_SOURCE
#include "relay.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Above so many datagrams a second they gather before they are served: a wake-up for each single one is mostly the price of waking up. */
#define GATHER_RATE 4000
#define GATHER_SECONDS 0.001 /* from one wake-up to the next: half of it is the delay a packet gets by it (bar Q2: p50 <= 1 ms) */
/* The fewer a wake-up finds, the more of its own price each of them bears: below MUCH_RATE a second they gather longer, up to this. */
#define GATHER_LONGEST 0.0015
#define MUCH_RATE 40000
#define LOOK_SECONDS 0.1     /* between two looks at the rate */
#define AHEAD 4              /* flows asked of memory before they are read */

/* sched_setattr(2), which has no place in older headers. Since Linux 6.12 `runtime` of an ordinary thread is the stretch it asks for. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

void relay_be_prompt(void)
{
    /* An ordinary thread sleeps up to 50 µs longer than it asks, so that the kernel can wake up several at once, and what gathers meanwhile
     * is that much later: prctl(2), where 0 would mean those 50. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
#if defined SYS_sched_getattr && defined SYS_sched_setattr
    struct attributes wanted = {.size = sizeof wanted};
    if (syscall(SYS_sched_getattr, 0, &wanted, sizeof wanted, 0) < 0 || wanted.policy != 0)
        return; /* somebody gave the process another policy, and knew why */
    wanted.size = sizeof wanted;
    wanted.runtime = 100000; /* the shortest there is; the evidence thread must not hold up packets for its own, which is 3 ms */
    syscall(SYS_sched_setattr, 0, &wanted, 0);
#endif
}

int relay_loop_open(relay_loop *loop, int poll, int later)
{
    memset(loop, 0, sizeof *loop);
    loop->poll = poll;
    loop->later = later;
    loop->now = loop->before = loop->looked = loop->vacant = relay_monotonic();
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

static void hand_over(relay_loop *loop, relay_flow *flow, const unsigned char *data, size_t size)
{
    memcpy(loop->odd_bytes + loop->odd_used, data, size);
    loop->odd[loop->odd_count++] = (relay_odd){flow, loop->odd_used, (uint32_t)size};
    loop->odd_used += (uint32_t)size;
    loop->handed++;
}

/* 400 flows and a network stack do not fit the caches: ask for what the next packets need while this one is read. */
static void fetch(const void *start, size_t size)
{
    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch((const char *)start + at, 1);
}

static void fetch_numbers(const relay_flow *flow)
{
    fetch(flow->source, sizeof *flow->source);
    for (int i = 0; i < flow->tape_count; i++)
        fetch(flow->tapes[i], sizeof *flow->tapes[i]);
    const relay_flow *to = flow->destination;
    if (to) {
        fetch(to, offsetof(relay_flow, unheard));
        fetch(to->out, sizeof *to->out);
    }
}

/* Where a packet of this size will be written; the lock of a tape waits for what was written before it is given back. */
static void fetch_tape(const relay_tape *tape, size_t size)
{
    if (tape->next)
        fetch(tape->next, sizeof ((relay_head *)0)->bytes + size);
}

/* Read one datagram of each of these flows, then decide, then send: each of the three finds its own code warm. How many there were.
 * A socket that has more is readable still and comes again in the next round, behind the others. */
static int serve(relay_loop *loop, relay_flow *const *flows, int count)
{
    /* Not a power of two apart: else all packets of a batch would want the same lines of the cache. */
    static _Thread_local unsigned char data[RELAY_BATCH][RELAY_DATAGRAM + 320];
    ssize_t sizes[RELAY_BATCH];
    relay_flow *onward[RELAY_BATCH];
    int served = 0;
    for (int i = 0; i < count; i++) {
        if (i + AHEAD < count)
            fetch(flows[i + AHEAD], offsetof(relay_flow, unheard));
        if (i + 1 < count)
            fetch_numbers(flows[i + 1]);
        /* Less than 0: nothing there after all; or the peer's system says that nobody listens there (ICMP). */
        sizes[i] = recv(flows[i]->fd, data[i], RELAY_DATAGRAM, MSG_DONTWAIT);
    }
    for (int i = 0; i < count; i++) {
        relay_flow *flow = flows[i];
        onward[i] = NULL;
        if (i + 2 < count && sizes[i + 2] > 0)
            for (int k = 0; k < flows[i + 2]->tape_count; k++)
                fetch_tape(flows[i + 2]->tapes[k], (size_t)sizes[i + 2]);
        if (sizes[i] < 0)
            continue;
        served++;
        if (relay_flood(flow, (size_t)sizes[i], loop))
            continue;
        switch (relay_follow(flow, data[i], (size_t)sizes[i], loop->now)) {
        case FOLLOW_ODD:
            hand_over(loop, flow, data[i], (size_t)sizes[i]);
            break;
        case FOLLOW_ONWARD:
            onward[i] = flow->destination;
            loop->relayed++;
            break;
        case FOLLOW_VOICE:
            loop->voiced++;
            break;
        default:
            loop->sunk++;
        }
    }
    for (int i = 0; i < count; i++)
        if (onward[i]) {
            if (onward[i]->out_tape)
                fetch_tape(onward[i]->out_tape, (size_t)sizes[i]); /* the kernel takes longer than memory */
            relay_leave(onward[i], data[i], (size_t)sizes[i]);
        }
    return served;
}

int relay_serve(relay_loop *loop, relay_flow *flow, double now, double looked, double vacant)
{
    loop->odd_count = 0;
    loop->odd_used = 0;
    loop->now = now, loop->looked = looked, loop->vacant = vacant;
    return serve(loop, &flow, 1);
}

/* Whether there may be no room for what one more batch hands over; then not all there was is read. */
static int full(relay_loop *loop)
{
    if (loop->odd_count <= RELAY_ODD - RELAY_BATCH && RELAY_ODD_BYTES - loop->odd_used >= RELAY_BATCH * RELAY_DATAGRAM)
        return 0;
    loop->whole = 0;
    return 1;
}

/* Serve what epoll has reported: lent flows here, all others are put down for Python. */
static int serve_all(relay_loop *loop, const struct epoll_event *events, int count)
{
    relay_flow *batch[RELAY_BATCH];
    int held = 0, served = 0;
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        relay_flow *flow = fd < loop->flow_room ? loop->flows[fd] : NULL;
        if (!flow || !flow->lent) {
            loop->ready[loop->ready_count++] = fd;
            continue;
        }
        batch[held++] = flow;
        if (held < RELAY_BATCH)
            continue;
        if (full(loop))
            return served; /* what is left stays in its sockets until Python has taken these */
        served += serve(loop, batch, held);
        held = 0;
    }
    if (held && full(loop))
        return served;
    return served + serve(loop, batch, held);
}

int relay_collect(relay_loop *loop, double now, double looked, double vacant)
{
    struct epoll_event events[RELAY_READY];
    loop->ready_count = loop->odd_count = 0;
    loop->odd_used = 0;
    loop->now = now;
    int count = epoll_wait(loop->later, events, RELAY_READY, 0);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    double ours[] = {loop->looked, loop->vacant};
    loop->looked = looked, loop->vacant = vacant;
    serve_all(loop, events, count);
    loop->looked = ours[0], loop->vacant = ours[1];
    return count;
}

/* Look at the rate now and then; where there is much to do, sleep out what is left of a millisecond or so since the last wake-up. */
static double gather(relay_loop *loop, double now, double deadline)
{
    if (now >= loop->look_at) {
        double rate = (double)loop->served / LOOK_SECONDS;
        double share = rate < MUCH_RATE ? rate / MUCH_RATE : 1;
        loop->gathering = rate > GATHER_RATE ? GATHER_LONGEST - share * (GATHER_LONGEST - GATHER_SECONDS) : 0;
        loop->served = 0;
        loop->look_at = now + LOOK_SECONDS;
    }
    double until = loop->now + loop->gathering;
    if (until > deadline)
        until = deadline;
    if (until <= now)
        return now;
    struct timespec at = {.tv_sec = (time_t)until};
    at.tv_nsec = (long)((until - (double)at.tv_sec) * 1e9);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL); /* a signal ends it early, which does no harm */
    return relay_monotonic();
}

int relay_turn(relay_loop *loop, double deadline)
{
    struct epoll_event events[RELAY_READY];
    loop->ready_count = loop->odd_count = 0;
    loop->odd_used = 0;
    for (;;) {
        double until = deadline;
        if (loop->beats.step && relay_beat_due(&loop->beats) < until)
            until = relay_beat_due(&loop->beats);
        double left = until - gather(loop, relay_monotonic(), until);
        if (loop->whole)
            loop->looked = loop->now, loop->vacant = loop->before;
        loop->before = loop->now;
        int count = epoll_wait(loop->poll, events, RELAY_READY, left <= 0 ? 0 : (int)ceil(left * 1000));
        loop->now = relay_monotonic();
        loop->whole = count >= 0 && count < RELAY_READY;
        if (count < 0)
            return errno == EINTR ? 0 : errno; /* a signal: Python looks what it was */
        loop->served += serve_all(loop, events, count) + loop->ready_count;
        if (loop->ready_count || loop->odd_count)
            return 0; /* a beat that is due has its turn behind what they bring */
        if (relay_beat(&loop->beats, loop->now) || loop->now >= deadline)
            return 0;
    }
}
