/* Enhanced Packet Blocks (draft-ietf-opsawg-pcapng §4.3) of what lay on a tape: the same bytes as recordings.pcapng.encode_batch. */
#include "relay.h"

#include <string.h>

/* Offsets in a block: type 0, length 4, interface 8, time 12, captured 20, original 24, then the IP packet. */
enum { LENGTH = 4, TIME = 12, CAPTURED = 20, ORIGINAL = 24, IP = 28, IPV4 = 20, IPV6 = 40, UDP = 8 };

static void put32(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)(value >> 24), at[1] = (unsigned char)(value >> 16);
    at[2] = (unsigned char)(value >> 8), at[3] = (unsigned char)value;
}

static void put16(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)(value >> 8), at[1] = (unsigned char)value;
}

/* RFC 1071: the 16-bit words in network order, modulo 65535; an odd payload counts as if followed by a zero byte. Words may be added
 * in any byte order and several at a time (section 2): 2^16 is 1 modulo 65535, and 2^8 swaps the bytes of the sum. */
static uint32_t sum(const unsigned char *data, uint32_t size)
{
    uint64_t low = 0, high = 0; /* of halves of 32 bits: a carry is lost after 2^32 of them */
    uint32_t i = 0;
    for (; i + 16 <= size; i += 16) {
        uint64_t words[2];
        memcpy(words, data + i, sizeof words);
        low += (uint32_t)words[0] + (words[1] & 0xFFFFFFFF);
        high += (words[0] >> 32) + (words[1] >> 32);
    }
    uint64_t rest[2] = {0, 0};
    memcpy(rest, data + i, size - i);
    low += (rest[0] & 0xFFFFFFFF) + (rest[0] >> 32);
    high += (rest[1] & 0xFFFFFFFF) + (rest[1] >> 32);
    uint32_t folded = (uint32_t)((low % 65535 + high % 65535) % 65535);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    folded = (folded << 8) % 65535;
#endif
    return folded;
}

size_t relay_block_size(const relay_head *head, uint32_t size)
{
    return head->size + ((size + 3) & ~3u) + head->note_size + 4;
}

size_t relay_block_put(unsigned char *out, const relay_head *head, int64_t at_ns, const unsigned char *data, uint32_t size)
{
    uint32_t padded = (size + 3) & ~3u, captured = head->size - IP + size;
    uint32_t whole = (uint32_t)relay_block_size(head, size), udp = head->size - UDP, length = size + UDP;
    memcpy(out, head->bytes, head->size);
    put32(out + LENGTH, whole);
    put32(out + TIME, (uint32_t)((uint64_t)at_ns >> 32)), put32(out + TIME + 4, (uint32_t)at_ns);
    put32(out + CAPTURED, captured), put32(out + ORIGINAL, captured);
    if (head->size == IP + IPV4 + UDP) {
        uint32_t rest = (head->ip_sum + captured) % 65535;
        put16(out + IP + 2, captured);
        put16(out + IP + 10, rest ? 65535 - rest : 0);
    } else
        put16(out + IP + 4, length);
    put16(out + udp + 4, length);
    /* RFC 768: "If the computed checksum is zero, it is transmitted as all ones". */
    put16(out + udp + 6, 65535 - (head->udp_sum + 2 * length + sum(data, size)) % 65535);
    memcpy(out + head->size, data, size);
    memset(out + head->size + size, 0, padded - size);
    if (head->note_size)
        memcpy(out + head->size + padded, head->note, head->note_size);
    put32(out + whole - 4, whole);
    return whole;
}
