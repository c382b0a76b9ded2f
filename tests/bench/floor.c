/* The floor of Q1: the least a relay can do. N connected UDP sockets in pairs; what arrives on one leaves on its
 * partner with the first 12 bytes rewritten. One recv and one send for each packet, no batching, no threads.
 *
 *   floor N      prints N port numbers, one a line; then reads N port numbers (the peers) and relays until stdin ends.
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
#include <unistd.h>

enum { MAX_SOCKETS = 4096, DATAGRAM = 9216, BATCH = 512 };

struct way {
    int in, out;
    uint16_t sequence;
    uint32_t timestamp, ssrc;
};

static struct way ways[MAX_SOCKETS];

static void fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in local(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

int main(int argc, char **argv)
{
    int n = argc == 2 ? atoi(argv[1]) : 0;
    if (n < 2 || n > MAX_SOCKETS || n % 2) {
        fprintf(stderr, "usage: floor N (even, at most %d)\n", MAX_SOCKETS);
        return 2;
    }
    int poll = epoll_create1(0);
    for (int i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 512 * 1024;
        struct sockaddr_in a = local(0);
        socklen_t length = sizeof a;
        if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &length))
            fail("socket");
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        ways[i].in = ways[i ^ 1].out = fd;
        ways[i].ssrc = 0x110u + i;
        printf("%d\n", ntohs(a.sin_port));
    }
    fflush(stdout);
    for (int i = 0; i < n; i++) {
        int port;
        if (scanf("%d", &port) != 1)
            return 1;
        struct sockaddr_in a = local(port);
        if (connect(ways[i].in, (struct sockaddr *)&a, sizeof a))
            fail("connect");
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(poll, EPOLL_CTL_ADD, ways[i].in, &e);
    }
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = MAX_SOCKETS};
    epoll_ctl(poll, EPOLL_CTL_ADD, 0, &e);
    static unsigned char data[DATAGRAM];
    struct epoll_event ready[BATCH];
    for (;;) {
        int count = epoll_wait(poll, ready, BATCH, -1);
        for (int k = 0; k < count; k++) {
            if (ready[k].data.u32 == MAX_SOCKETS)
                return 0; /* stdin ended */
            struct way *w = &ways[ready[k].data.u32];
            ssize_t size = recv(w->in, data, sizeof data, 0);
            if (size < 12)
                continue;
            w->sequence++;
            w->timestamp += 160;
            data[0] = 0x80;
            data[1] = (data[1] & 0x80) | 8;
            data[2] = w->sequence >> 8, data[3] = w->sequence;
            uint32_t words[2] = {htonl(w->timestamp), htonl(w->ssrc)};
            memcpy(data + 4, words, sizeof words);
            send(w->out, data, size, 0);
        }
    }
}
