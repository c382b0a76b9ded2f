/* Tapes: packets on their way from the media loop to the evidence thread. */
#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAPE_FIRST (64 * 1024)
#define TAPE_KEPT (512 * 1024) /* what a disk that hung made of one is given back to the system */

int relay_tape_open(relay_tape *tape, size_t limit)
{
    memset(tape, 0, sizeof *tape);
    tape->limit = limit;
    return pthread_mutex_init(&tape->lock, NULL);
}

void relay_tape_close(relay_tape *tape)
{
    pthread_mutex_destroy(&tape->lock);
    free(tape->bytes);
    free(tape->heads);
    tape->bytes = NULL;
    tape->heads = NULL;
}

static int grow(relay_tape *tape, size_t wanted)
{
    size_t room = tape->room ? tape->room : TAPE_FIRST;
    while (room < wanted)
        room *= 2;
    unsigned char *bytes = realloc(tape->bytes, room);
    if (!bytes)
        return 0;
    tape->bytes = bytes;
    tape->room = room;
    return 1;
}

void relay_tape_put(relay_tape *tape, int64_t at_ns, uint32_t way, const unsigned char *data, size_t size)
{
    const relay_head *head = &tape->heads[way];
    size_t length = relay_block_size(head, (uint32_t)size);
    pthread_mutex_lock(&tape->lock);
    size_t wanted = tape->used + length;
    if (wanted > tape->limit || (wanted > tape->room && !grow(tape, wanted))) {
        if (!tape->left_out++)
            tape->left_out_first = at_ns;
        tape->left_out_last = at_ns;
    } else {
        /* Now, while the packet is in the cache: in a tenth of a second, when it is written, it is not. */
        relay_block_put(tape->bytes + tape->used, head, at_ns, data, (uint32_t)size);
        tape->used = wanted;
        tape->packets++;
        tape->next = tape->bytes + wanted;
    }
    pthread_mutex_unlock(&tape->lock);
}

/* The memory of the tape that was written last is the next one's to be filled: so 200 calls have 201 pieces of memory in use and not
 * 400, of which the caches hold more. */
static unsigned char *spare;
static size_t spare_room;
static pthread_mutex_t spare_lock = PTHREAD_MUTEX_INITIALIZER;

void relay_tape_take(relay_tape *tape, relay_taken *taken)
{
    pthread_mutex_lock(&spare_lock);
    unsigned char *bytes = spare;
    size_t room = spare_room;
    spare = NULL;
    spare_room = 0;
    pthread_mutex_unlock(&spare_lock);
    pthread_mutex_lock(&tape->lock);
    *taken = (relay_taken){tape->bytes, tape->used, tape->room, tape->packets, tape->left_out, tape->left_out_first, tape->left_out_last};
    tape->bytes = bytes, tape->room = room;
    tape->used = 0;
    tape->packets = tape->left_out = 0;
    pthread_mutex_unlock(&tape->lock);
}

void relay_tape_give(relay_taken *taken)
{
    unsigned char *gone = taken->bytes;
    if (taken->room <= TAPE_KEPT) {
        pthread_mutex_lock(&spare_lock);
        if (!spare) {
            spare = gone;
            spare_room = taken->room;
            gone = NULL;
        }
        pthread_mutex_unlock(&spare_lock);
    }
    free(gone);
    *taken = (relay_taken){0};
}

static int write_all(int fd, const unsigned char *data, size_t size, size_t *written)
{
    for (*written = 0; *written < size;) {
        ssize_t went = write(fd, data + *written, size - *written);
        if (went > 0)
            *written += (size_t)went;
        else if (went == 0)
            return EIO;
        else if (errno != EINTR)
            return errno; /* write(2): a short write is followed by the error that stopped it */
    }
    return 0;
}

int relay_tape_write(relay_tape *tape, int fd, int64_t end, relay_taken *taken, size_t *written)
{
    struct stat found;
    if (fstat(fd, &found) < 0 || (int64_t)found.st_size != end)
        return -1;
    relay_tape_take(tape, taken);
    return write_all(fd, taken->bytes, taken->used, written);
}
