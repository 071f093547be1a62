/* SHA-256 of a short message with the processor's own instructions; where it has none, the caller uses hashlib.
 *
 * hashlib makes an object and looks the algorithm up for every message, which costs more than hashing 300 bytes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

/* The fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2). */
static const uint32_t SHA256_ROUNDS[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static int sha256_in_hardware(void) {
    unsigned int a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1) && __get_cpuid(1, &a, &b, &c, &d) && (c >> 19 & 1);
}

/* The state is kept as the instructions want it: words A B E F and words C D G H, the first in the highest lane. */
__attribute__((target("sha,sse4.1"))) static void sha256_blocks(__m128i state[2], const uint8_t* text, size_t blocks) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    for (; blocks > 0; blocks--, text += 64) {
        __m128i abef = state[0], cdgh = state[1], words[4];
#pragma GCC unroll 16
        for (int group = 0; group < 16; group++) {
            __m128i* next = &words[group & 3];
            if (group < 4) {
                *next = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i*)text + group), big_endian);
            } else {
                const __m128i last = words[(group + 3) & 3];
                const __m128i middle = _mm_alignr_epi8(last, words[(group + 2) & 3], 4);
                const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(*next, words[(group + 1) & 3]), middle);
                *next = _mm_sha256msg2_epu32(sum, last);
            }
            const __m128i keyed = _mm_add_epi32(*next, _mm_load_si128((const __m128i*)SHA256_ROUNDS + group));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, keyed);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(keyed, 0x0e));
        }
        state[0] = _mm_add_epi32(state[0], abef);
        state[1] = _mm_add_epi32(state[1], cdgh);
    }
}

__attribute__((target("sha,sse4.1"))) static void sha256_digest(const uint8_t* text, size_t size, uint8_t digest[32]) {
    __m128i state[2] = {
        _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c),
        _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19),
    };
    uint8_t tail[128] = {0};
    const size_t whole = size / 64, rest = size % 64, tail_blocks = rest < 56 ? 1 : 2;
    memcpy(tail, text + 64 * whole, rest);
    tail[rest] = 0x80;
    for (int place = 0; place < 8; place++) {
        tail[64 * tail_blocks - 1 - place] = (uint8_t)((uint64_t)size * 8 >> 8 * place);
    }
    sha256_blocks(state, text, whole);
    sha256_blocks(state, tail, tail_blocks);
    const __m128i reversed = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
    _mm_storeu_si128((__m128i*)digest, _mm_shuffle_epi8(_mm_unpackhi_epi64(state[1], state[0]), reversed));
    _mm_storeu_si128((__m128i*)(digest + 16), _mm_shuffle_epi8(_mm_unpacklo_epi64(state[1], state[0]), reversed));
}

#else

static int sha256_in_hardware(void) { return 0; }

static void sha256_digest(const uint8_t* text, size_t size, uint8_t digest[32]) {
    (void)text;
    (void)size;
    memset(digest, 0, 32);
}

#endif
