/* Tapes: packets on their way from the media loop to the evidence thread. */
#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAPE_FIRST (64 * 1024)

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
    }
    pthread_mutex_unlock(&tape->lock);
}

int64_t relay_file_size(int fd)
{
    struct stat found;
    return fstat(fd, &found) < 0 ? -1 : (int64_t)found.st_size;
}

int relay_write(int fd, const unsigned char *data, size_t size, size_t *written)
{
    *written = 0;
    while (*written < size) {
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
