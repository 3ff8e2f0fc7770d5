/* Which characters of an ILP address are dots, and whether all of them may be in one (RFC 15), for
 * up to 64 characters at a time: 16 by 16 with SSE2, which every x86-64 has, one by one elsewhere.
 * No byte outside the address is read. Includes nothing but the intrinsics; tests compare both. */
#ifndef FASTILP_ADDRESS_SCAN_H
#define FASTILP_ADDRESS_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { ADDRESS_BLOCK_SIZE = 64 };

/* Bit i speaks of character i. */
typedef struct { uint64_t dots, forbidden; } address_marks_t;

static inline int address_allows(uint8_t c)
{
    return (uint8_t)((c | 0x20) - 'a') < 26 || (uint8_t)(c - '0') < 10 || c == '.' || c == '-'
        || c == '_' || c == '~';
}

static inline address_marks_t address_marks_portable(const uint8_t *at, size_t size)
{
    address_marks_t marks = {0, 0};
    for (size_t i = 0; i < size; i++) {
        marks.dots |= (uint64_t)(at[i] == '.') << i;
        marks.forbidden |= (uint64_t)!address_allows(at[i]) << i;
    }
    return marks;
}

static inline uint64_t address_dots_portable(const uint8_t *at, size_t size)
{
    uint64_t dots = 0;
    for (size_t i = 0; i < size; i++)
        dots |= (uint64_t)(at[i] == '.') << i;
    return dots;
}

#ifdef __SSE2__

static inline __m128i address_load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)at);
}

/* 8 to 15 characters as 16: the first 8 and the last 8, which may overlap. */
static inline __m128i address_load_ends(const uint8_t *at, size_t size)
{
    return _mm_unpacklo_epi64(
        _mm_loadl_epi64((const __m128i *)at), _mm_loadl_epi64((const __m128i *)(at + size - 8)));
}

static inline uint64_t address_spread_ends(uint64_t bits, size_t size)
{
    return (bits & 0xFF) | (bits >> 8) << (size - 8);
}

static inline uint64_t address_bits(__m128i matches)
{
    return (uint32_t)_mm_movemask_epi8(matches);
}

static inline __m128i address_equal(__m128i chars, char c)
{
    return _mm_cmpeq_epi8(chars, _mm_set1_epi8(c));
}

/* `first <= c < first + count`, unsigned, which SSE2 has no comparison for. */
static inline __m128i address_between(__m128i chars, char first, char count)
{
    __m128i above = _mm_sub_epi8(chars, _mm_set1_epi8(first));
    return _mm_cmpeq_epi8(_mm_min_epu8(above, _mm_set1_epi8((char)(count - 1))), above);
}

static inline __m128i address_allows_16(__m128i chars, __m128i dots)
{
    __m128i lower = _mm_or_si128(chars, _mm_set1_epi8(0x20));
    __m128i words = _mm_or_si128(address_between(lower, 'a', 26), address_between(chars, '0', 10));
    __m128i marks = _mm_or_si128(address_equal(chars, '-'), address_equal(chars, '_'));
    return _mm_or_si128(
        _mm_or_si128(words, marks), _mm_or_si128(dots, address_equal(chars, '~')));
}

static inline void address_mark_16(address_marks_t *marks, __m128i chars, size_t at)
{
    __m128i dots = address_equal(chars, '.');
    marks->dots |= address_bits(dots) << at;
    marks->forbidden |= (address_bits(address_allows_16(chars, dots)) ^ 0xFFFF) << at;
}

static inline address_marks_t address_marks(const uint8_t *at, size_t size)
{
    address_marks_t marks = {0, 0};
    if (size < 8)
        return address_marks_portable(at, size);
    if (size < 16) {
        address_mark_16(&marks, address_load_ends(at, size), 0);
        marks.dots = address_spread_ends(marks.dots, size);
        marks.forbidden = address_spread_ends(marks.forbidden, size);
        return marks;
    }
    for (size_t i = 0; i < size - 16; i += 16)
        address_mark_16(&marks, address_load(at + i), i);
    address_mark_16(&marks, address_load(at + size - 16), size - 16);
    return marks;
}

/* The dots alone, for whoever knows that the address is valid. */
static inline uint64_t address_dots(const uint8_t *at, size_t size)
{
    uint64_t dots = 0;
    if (size < 8)
        return address_dots_portable(at, size);
    if (size < 16)
        return address_spread_ends(
            address_bits(address_equal(address_load_ends(at, size), '.')), size);
    for (size_t i = 0; i < size - 16; i += 16)
        dots |= address_bits(address_equal(address_load(at + i), '.')) << i;
    return dots | address_bits(address_equal(address_load(at + size - 16), '.')) << (size - 16);
}

/* Most prefixes have 16 to 64 characters: too few to be worth a call. */
static inline int address_same(const uint8_t *a, const uint8_t *b, size_t size)
{
    __m128i same;
    if (size < 16)
        return memcmp(a, b, size) == 0;
    same = _mm_cmpeq_epi8(address_load(a + size - 16), address_load(b + size - 16));
    for (size_t i = 0; i < size - 16; i += 16)
        same = _mm_and_si128(same, _mm_cmpeq_epi8(address_load(a + i), address_load(b + i)));
    return address_bits(same) == 0xFFFF;
}

#else

static inline int address_same(const uint8_t *a, const uint8_t *b, size_t size)
{
    return memcmp(a, b, size) == 0;
}

static inline address_marks_t address_marks(const uint8_t *at, size_t size)
{
    return address_marks_portable(at, size);
}

static inline uint64_t address_dots(const uint8_t *at, size_t size)
{
    return address_dots_portable(at, size);
}

#endif

/* Whether the characters are segments, one dot between two of them, none of them empty. */
static inline int address_segments_hold(const uint8_t *at, size_t size)
{
    /* A dot at the start would end an empty segment, as one behind a dot does. */
    uint64_t faults = 0, behind_dot = 1;
    while (size) {
        size_t part = size < ADDRESS_BLOCK_SIZE ? size : ADDRESS_BLOCK_SIZE;
        address_marks_t marks = address_marks(at, part);
        faults |= marks.forbidden | (marks.dots & (marks.dots << 1 | behind_dot));
        behind_dot = marks.dots >> (part - 1);
        at += part;
        size -= part;
    }
    return (faults | behind_dot) == 0;
}

#endif
