/* Tapes: packets on their way from the media loop to the evidence thread. */
#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAPE_FIRST (64 * 1024)
#define DESK (256 * 1024) /* bytes written in one go; more than any datagram makes */

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
    tape->bytes = NULL;
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
    size_t length = sizeof(relay_record) + ((size + 7) & ~(size_t)7);
    pthread_mutex_lock(&tape->lock);
    size_t wanted = tape->used + length;
    if (wanted > tape->limit || (wanted > tape->room && !grow(tape, wanted))) {
        if (!tape->left_out++)
            tape->left_out_first = at_ns;
        tape->left_out_last = at_ns;
    } else {
        relay_record record = {at_ns, (uint32_t)size, way};
        memcpy(tape->bytes + tape->used, &record, sizeof record);
        memcpy(tape->bytes + tape->used + sizeof record, data, size);
        tape->used = wanted;
        tape->packets++;
        tape->next = tape->bytes + wanted;
    }
    pthread_mutex_unlock(&tape->lock);
}

int64_t relay_file_size(int fd)
{
    struct stat found;
    return fstat(fd, &found) < 0 ? -1 : (int64_t)found.st_size;
}

static int write_all(int fd, const unsigned char *data, size_t size, size_t *written)
{
    for (size_t done = 0; done < size;) {
        ssize_t went = write(fd, data + done, size - done);
        if (went > 0)
            done += (size_t)went, *written += (size_t)went;
        else if (went == 0)
            return EIO;
        else if (errno != EINTR)
            return errno; /* write(2): a short write is followed by the error that stopped it */
    }
    return 0;
}

static size_t step(const relay_record *record)
{
    return sizeof *record + ((record->size + 7) & ~(size_t)7);
}

size_t relay_tape_blocks(unsigned char *out, const unsigned char *records, size_t used, const relay_head *heads)
{
    size_t size = 0;
    for (size_t at = 0; at < used;) {
        const relay_record *record = (const relay_record *)(records + at);
        size += relay_block_put(out + size, &heads[record->way], record->at_ns, records + at + sizeof *record, record->size);
        at += step(record);
    }
    return size;
}

/* All files are written through this one buffer, which stays in the cache as those of 200 calls would not. One thread writes;
 * a second one would wait. */
static unsigned char desk[DESK];
static pthread_mutex_t desk_lock = PTHREAD_MUTEX_INITIALIZER;

int relay_tape_write(int fd, const unsigned char *records, size_t used, const relay_head *heads, size_t *written)
{
    int error = 0;
    *written = 0;
    pthread_mutex_lock(&desk_lock);
    size_t size = 0;
    for (size_t at = 0; at < used && !error;) { /* once through the records: they are cold, and each step waits for memory */
        const relay_record *record = (const relay_record *)(records + at);
        const relay_head *head = &heads[record->way];
        size_t more = relay_block_size(head, record->size);
        if (size + more > DESK) {
            /* One that fills the buffer alone: nothing that came by a datagram does. */
            error = size ? write_all(fd, desk, size, written) : EMSGSIZE;
            size = 0;
            continue;
        }
        size += relay_block_put(desk + size, head, record->at_ns, records + at + sizeof *record, record->size);
        at += step(record);
    }
    if (size && !error)
        error = write_all(fd, desk, size, written);
    pthread_mutex_unlock(&desk_lock);
    return error;
}
