/* The phones' media: N UDP sockets that send 20 ms of marked sound each, 50 times a second, and look at what comes back.
 *
 *   sound N                prints N port numbers, one a line, then obeys lines on stdin until it ends:
 *   to FIRST PORT...       connect socket FIRST, FIRST+1 ... to these ports of 127.0.0.1
 *   go FIRST LAST          let these sockets send (inclusive)
 *   stop FIRST LAST
 *   shape FIRST LAST SIZE EXTRA
 *                          let these sockets send packets of SIZE bytes, and with EXTRA 1 ten more a second: 60
 *   count FIRST LAST       answers "count SENT RECEIVED MARKED P50_US P99_US", and begins to count anew;
 *                          delays are of marked packets, from our send to the kernel's time of arrival
 *
 * Unasked it prints "heard SOCKET WHO NS" whenever the origin of what a socket receives changes: WHO is the number of the
 * sending socket, or -1 for sound that bears no mark; NS is the kernel's time of arrival (wall clock).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_SOCKETS = 4096, SLOTS = 200, SLOT_NS = 100000, /* 200 slots of 100 us are the 20 ms between two packets */
    BATCH = 256, SIZE = 172, LARGEST = 1400, STDIN = MAX_SOCKETS, TIMER = MAX_SOCKETS + 1, BUCKETS = 100000 /* of 10 us */
};

static const char MAGIC[4] = {'1', '1', '0', '!'};

struct phone {
    int fd, sending, heard, slot, size, extra;
    uint16_t sequence;
    uint32_t timestamp;
    uint64_t sent, received, marked;
};

static struct phone phones[MAX_SOCKETS];
static int order[MAX_SOCKETS], first_of[SLOTS + 1], phone_count;
static uint32_t delays[BUCKETS];
static char line[65536];
static size_t held;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "sound: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void send_one(int index)
{
    struct phone *p = &phones[index];
    unsigned char data[LARGEST];
    uint32_t words[2] = {htonl(p->timestamp += 160), htonl(0xA1100000u + index)};
    uint32_t mark = index;
    uint64_t at = now_ns(CLOCK_REALTIME);
    p->sequence++;
    data[0] = 0x80, data[1] = 8, data[2] = p->sequence >> 8, data[3] = p->sequence;
    memcpy(data + 4, words, 8);
    memcpy(data + 12, MAGIC, 4);
    memcpy(data + 16, &mark, 4);
    memcpy(data + 20, &at, 8);
    memset(data + 28, 0xD5, p->size - 28); /* silence in A-law */
    if (send(p->fd, data, p->size, 0) == p->size)
        p->sent++;
}

static void receive_one(int index)
{
    struct phone *p = &phones[index];
    unsigned char data[2048];
    char control[64];
    struct iovec part = {data, sizeof data};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(p->fd, &message, 0);
    if (size < 12 || (data[1] >= 192 && data[1] < 224)) /* RTCP */
        return;
    uint64_t arrived = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            arrived = t.tv_sec * 1000000000ull + t.tv_nsec;
        }
    int who = -1;
    p->received++;
    if (size >= 28 && !memcmp(data + 12, MAGIC, 4)) {
        uint64_t at;
        memcpy(&who, data + 16, 4);
        memcpy(&at, data + 20, 8);
        p->marked++;
        uint64_t bucket = arrived > at ? (arrived - at) / 10000 : 0;
        delays[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    }
    if (who != p->heard) {
        p->heard = who;
        printf("heard %d %d %llu\n", index, who, (unsigned long long)arrived);
        fflush(stdout);
    }
}

static unsigned delay(double share)
{
    uint64_t all = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        all += delays[i];
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += delays[i]) && seen >= all * share)
            return i * 10;
    return 0;
}

static void obey(char *text)
{
    int first, last, used, port, size, extra;
    if (sscanf(text, "to %d%n", &first, &used) == 1) {
        for (text += used; first < phone_count && sscanf(text, "%d%n", &port, &used) == 1; text += used, first++) {
            struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
            a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            if (connect(phones[first].fd, (struct sockaddr *)&a, sizeof a))
                fail("connect");
        }
    } else if (sscanf(text, "go %d %d", &first, &last) == 2) {
        for (; first <= last && first < phone_count; first++)
            phones[first].sending = 1;
    } else if (sscanf(text, "stop %d %d", &first, &last) == 2) {
        for (; first <= last && first < phone_count; first++)
            phones[first].sending = 0;
    } else if (sscanf(text, "shape %d %d %d %d", &first, &last, &size, &extra) == 4 && size >= 28 && size <= LARGEST) {
        for (; first <= last && first < phone_count; first++)
            phones[first].size = size, phones[first].extra = extra;
    } else if (sscanf(text, "count %d %d", &first, &last) == 2) {
        uint64_t sent = 0, received = 0, marked = 0;
        for (; first <= last && first < phone_count; first++) {
            struct phone *p = &phones[first];
            sent += p->sent, received += p->received, marked += p->marked;
            p->sent = p->received = p->marked = 0;
        }
        printf("count %llu %llu %llu %u %u\n", (unsigned long long)sent, (unsigned long long)received,
               (unsigned long long)marked, delay(0.5), delay(0.99));
        fflush(stdout);
        memset(delays, 0, sizeof delays);
    }
}

static void read_lines(void)
{
    ssize_t size = read(0, line + held, sizeof line - 1 - held);
    if (size <= 0)
        exit(0);
    held += size;
    line[held] = 0;
    char *start = line, *end;
    while ((end = strchr(start, '\n'))) {
        *end = 0;
        obey(start);
        start = end + 1;
    }
    held -= start - line;
    memmove(line, start, held);
    if (held == sizeof line - 1)
        exit(1);
}

int main(int argc, char **argv)
{
    phone_count = argc == 2 ? atoi(argv[1]) : 0;
    if (phone_count < 1 || phone_count > MAX_SOCKETS) {
        fprintf(stderr, "usage: sound N (at most %d)\n", MAX_SOCKETS);
        return 2;
    }
    /* What arrives is read once a millisecond and wakes nobody: a waking is paid by the sender, who is being measured. */
    int poll = epoll_create1(0), arrivals = epoll_create1(0);
    for (int i = 0; i < phone_count; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET};
        socklen_t length = sizeof a;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), on = 1, size = 512 * 1024;
        if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &length))
            fail("socket");
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(arrivals, EPOLL_CTL_ADD, fd, &e);
        /* 89 and 200 have no common factor: neighbours are far apart in time, all slots are filled alike. */
        phones[i] = (struct phone){.fd = fd, .heard = -2, .slot = i * 89 % SLOTS, .size = SIZE};
        printf("%d\n", ntohs(a.sin_port));
    }
    fflush(stdout);
    for (int slot = 0, k = 0; slot <= SLOTS; slot++) {
        first_of[slot] = k;
        for (int i = 0; i < phone_count; i++)
            if (phones[i].slot == slot)
                order[k++] = i;
    }
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec each = {{0, 1000000}, {0, 1000000}};
    timerfd_settime(timer, 0, &each, 0);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = STDIN};
    epoll_ctl(poll, EPOLL_CTL_ADD, 0, &e);
    e.data.u32 = TIMER;
    epoll_ctl(poll, EPOLL_CTL_ADD, timer, &e);
    uint64_t done = now_ns(CLOCK_MONOTONIC) / SLOT_NS;
    struct epoll_event ready[BATCH];
    for (;;) {
        int count = epoll_wait(poll, ready, BATCH, -1);
        for (int k = 0; k < count; k++) {
            uint64_t times;
            if (ready[k].data.u32 == STDIN)
                read_lines();
            else if (read(timer, &times, sizeof times) < 0 && errno != EAGAIN)
                fail("timer");
        }
        uint64_t slot = now_ns(CLOCK_MONOTONIC) / SLOT_NS;
        if (slot - done > 2 * SLOTS)
            done = slot - SLOTS; /* we were held up: what is long past is not made up for */
        while (done < slot) {
            int s = ++done % SLOTS;
            for (int k = first_of[s]; k < first_of[s + 1]; k++)
                if (phones[order[k]].sending)
                    send_one(order[k]);
            /* Every fifth time one more, half-way to the next. */
            int half = (s + SLOTS / 2) % SLOTS;
            if (done / SLOTS % 5 == 0)
                for (int k = first_of[half]; k < first_of[half + 1]; k++)
                    if (phones[order[k]].sending && phones[order[k]].extra)
                        send_one(order[k]);
        }
        do {
            count = epoll_wait(arrivals, ready, BATCH, 0);
            for (int k = 0; k < count; k++)
                receive_one(ready[k].data.u32);
        } while (count == BATCH);
    }
}
