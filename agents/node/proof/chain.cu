// The INT8 chain challenge on a GPU: matrices, product, Merkle trees and folds, byte for byte as schemas/challenge.py and
// schemas/residency.py say. NVRTC compiles it when it is first needed; without a GPU the same text is compiled as C++ over
// tests/fixtures/emulated_gpu/on_cpu.h, which stands in for what follows under __CUDACC__.
//
// A and B lie in chunks of 16 along k: [k / 16][row of A or column of B][k % 16]. Eight rows of a chunk are 128 bytes in a
// line, so every load of a fragment from shared memory is free of bank conflicts without padding, and a tile is copied in
// runs of whole lines. n is a power of two of at least 256.

typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef __CUDACC__

// D += A·B for one tile of 16×8 with depth 32, spread over a warp as the PTX ISA says for m16n8k32 and .s8.
__device__ __forceinline__ void multiply_add(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Loads four matrices of 8 rows of 16 bytes: lane l names row l % 8 of matrix l / 8 and gets bytes 4·(l % 4) of row l / 4.
__device__ __forceinline__ void load_matrices(u32 (&to)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"((u32)__cvta_generic_to_shared(row))
                 : "memory");
}

// Copies 16 bytes from global to shared memory in the background; copies form groups, and a group is waited for.
__device__ __forceinline__ void copy_async(void *to, const void *from)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from) : "memory");
}

__device__ __forceinline__ void end_copy_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int PENDING> __device__ __forceinline__ void wait_for_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

extern __shared__ __align__(16) unsigned char shared_memory[];

#else
#include "on_cpu.h"
#endif

// --- matrices ---------------------------------------------------------------------------------------------------------

// One block of Philox4x64-10 as eight words; -128 in any byte becomes 0.
__device__ __forceinline__ void philox_block(u32 (&to)[8], u64 k0, u64 k1, u64 counter, u64 matrix)
{
    const u64 m0 = 0xD2E7470EE14C6C93ull, m1 = 0xCA5A826395121157ull;
    u64 x0 = counter, x1 = 0, x2 = 0, x3 = matrix;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        u64 high0 = __umul64hi(m0, x0), low0 = m0 * x0, high1 = __umul64hi(m1, x2), low1 = m1 * x2;
        x0 = high1 ^ x1 ^ k0;
        x1 = low1;
        x2 = high0 ^ x3 ^ k1;
        x3 = low0;
        k0 += 0x9E3779B97F4A7C15ull;
        k1 += 0xBB67AE8584CAA73Bull;
    }
    const u64 words[4] = {x0, x1, x2, x3};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        u32 bytes = (u32)(words[i / 2] >> (i % 2 * 32)), other = bytes ^ 0x80808080u;
        u32 is_least = ~(((other & 0x7F7F7F7Fu) + 0x7F7F7F7Fu) | other | 0x7F7F7F7Fu);
        to[i] = bytes & ~is_least;
    }
}

// Writes A: one thread for each block of 32 values of a row, neighbours on neighbouring rows.
extern "C" __global__ void generate_a(uint4 *a, u32 n, u64 k0, u64 k1)
{
    u32 thread = blockIdx.x * blockDim.x + threadIdx.x, row = thread % n, block = thread / n;
    u32 v[8];
    philox_block(v, k0, k1, (u64)row * (n / 32) + block + 1, 0);
    a[(size_t)(2 * block) * n + row] = make_uint4(v[0], v[1], v[2], v[3]);
    a[(size_t)(2 * block + 1) * n + row] = make_uint4(v[4], v[5], v[6], v[7]);
}

// Writes B: one thread for 4 rows × 32 columns, turned so that the 4 values of a column make one word.
extern "C" __global__ void generate_b(u32 *b, u32 n, u64 k0, u64 k1)
{
    u32 thread = blockIdx.x * blockDim.x + threadIdx.x, groups = n / 32;
    u32 quarter = thread % 4, group = thread / 4 % groups, chunk = thread / 4 / groups;
    u32 v[4][8];
#pragma unroll
    for (int r = 0; r < 4; ++r)
        philox_block(v[r], k0, k1, (u64)(16 * chunk + 4 * quarter + r) * groups + group + 1, 1);
    u32 *to = b + ((size_t)chunk * n + 32 * group) * 4 + quarter;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        u32 low01 = __byte_perm(v[0][i], v[1][i], 0x5140), low23 = __byte_perm(v[2][i], v[3][i], 0x5140);
        u32 high01 = __byte_perm(v[0][i], v[1][i], 0x7362), high23 = __byte_perm(v[2][i], v[3][i], 0x7362);
        to[16 * i] = __byte_perm(low01, low23, 0x5410);
        to[16 * i + 4] = __byte_perm(low01, low23, 0x7632);
        to[16 * i + 8] = __byte_perm(high01, high23, 0x5410);
        to[16 * i + 12] = __byte_perm(high01, high23, 0x7632);
    }
}

// --- product ----------------------------------------------------------------------------------------------------------

// A block of 256 threads makes 128×256 of C in steps of depth 64; each of its 8 warps makes 64×64.
enum { TILE_M = 128, TILE_N = 256, CHUNKS = 4, STAGES = 3, THREADS = 256, BAND = 8 };
enum { A_PIECES = CHUNKS * TILE_M, B_PIECES = CHUNKS * TILE_N, STAGE_PIECES = A_PIECES + B_PIECES };

__device__ __forceinline__ void copy_tiles(uint4 *stage, const uint4 *a, const uint4 *b, u32 n, u32 step)
{
    const uint4 *from_a = a + (size_t)step * CHUNKS * n, *from_b = b + (size_t)step * CHUNKS * n;
#pragma unroll
    for (u32 i = threadIdx.x; i < A_PIECES; i += THREADS)
        copy_async(stage + i, from_a + (size_t)(i / TILE_M) * n + i % TILE_M);
#pragma unroll
    for (u32 i = threadIdx.x; i < B_PIECES; i += THREADS)
        copy_async(stage + A_PIECES + i, from_b + (size_t)(i / TILE_N) * n + i % TILE_N);
}

// Adds depth 32 of a stage, its chunks first_chunk and the next, to a warp's 64×64 sums.
__device__ __forceinline__ void add_step(int (&sums)[4][8][4], const uint4 *rows, const uint4 *columns, u32 first_chunk)
{
    u32 lane = threadIdx.x % 32, in_eight = lane % 8, of_eight = lane / 8;
    u32 a[4][4], b[4][4];
#pragma unroll
    for (int m = 0; m < 4; ++m)
        load_matrices(a[m], rows + (first_chunk + of_eight / 2) * TILE_M + 16 * m + of_eight % 2 * 8 + in_eight);
#pragma unroll
    for (int p = 0; p < 4; ++p)
        load_matrices(b[p], columns + (first_chunk + of_eight % 2) * TILE_N + 16 * p + of_eight / 2 * 8 + in_eight);
#pragma unroll
    for (int m = 0; m < 4; ++m)
#pragma unroll
        for (int p = 0; p < 8; ++p)
            multiply_add(sums[m][p], a[m], b[p / 2][p % 2 * 2], b[p / 2][p % 2 * 2 + 1]);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) multiply(const uint4 *a, const uint4 *b, int *c, u32 n)
{
    // Blocks that run at the same time share bands of A and B in the L2 cache.
    u32 band = min((u32)BAND, n / TILE_M), in_band = band * (n / TILE_N);
    u32 first_row = (blockIdx.x / in_band * band + blockIdx.x % in_band % band) * TILE_M;
    u32 first_column = blockIdx.x % in_band / band * TILE_N;
    u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32, warp_row = warp / 4 * 64, warp_column = warp % 4 * 64;
    uint4 *stages = (uint4 *)shared_memory;
    int sums[4][8][4] = {};
    a += first_row;
    b += first_column;
    u32 steps = n / (16 * CHUNKS);
    for (u32 step = 0; step < STAGES - 1; ++step) {
        copy_tiles(stages + step * STAGE_PIECES, a, b, n, step);
        end_copy_group();
    }
    for (u32 step = 0; step < steps; ++step) {
        wait_for_copies<STAGES - 2>();
        __syncthreads();
        u32 next = step + STAGES - 1;
        if (next < steps)
            copy_tiles(stages + next % STAGES * STAGE_PIECES, a, b, n, next);
        end_copy_group();
        const uint4 *stage = stages + step % STAGES * STAGE_PIECES;
#pragma unroll
        for (u32 chunk = 0; chunk < CHUNKS; chunk += 2)
            add_step(sums, stage + warp_row, stage + A_PIECES + warp_column, chunk);
    }
    c += (size_t)(first_row + warp_row + lane / 4) * n + first_column + warp_column + lane % 4 * 2;
#pragma unroll
    for (int m = 0; m < 4; ++m)
#pragma unroll
        for (int p = 0; p < 8; ++p) {
            int *to = c + (size_t)(16 * m) * n + 8 * p;
            *(int2 *)to = make_int2(sums[m][p][0], sums[m][p][1]);
            *(int2 *)(to + (size_t)8 * n) = make_int2(sums[m][p][2], sums[m][p][3]);
        }
}

// --- SHA-256 (FIPS 180-4) -----------------------------------------------------------------------------------------------

__constant__ u32 ROUND_CONSTANTS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

__device__ __forceinline__ u32 swap_bytes(u32 x) { return __byte_perm(x, 0, 0x0123); }
__device__ __forceinline__ u32 rotate(u32 x, int bits) { return x >> bits | x << (32 - bits); }

__device__ __forceinline__ void begin_hash(u32 (&h)[8])
{
    const u32 first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
#pragma unroll
    for (int i = 0; i < 8; ++i)
        h[i] = first[i];
}

// Takes one block of 16 words, most significant byte first, into the state; w is used up.
__device__ __forceinline__ void compress(u32 (&h)[8], u32 (&w)[16])
{
    u32 s[8];
#pragma unroll
    for (int i = 0; i < 8; ++i)
        s[i] = h[i];
#pragma unroll
    for (int i = 0; i < 64; ++i) {
        if (i >= 16) {
            u32 w15 = w[(i - 15) % 16], w2 = w[(i - 2) % 16];
            w[i % 16] += (rotate(w15, 7) ^ rotate(w15, 18) ^ w15 >> 3) + w[(i - 7) % 16] +
                         (rotate(w2, 17) ^ rotate(w2, 19) ^ w2 >> 10);
        }
        u32 e = s[(68 - i) % 8], a = s[(64 - i) % 8];
        u32 chosen = (e & s[(69 - i) % 8]) ^ (~e & s[(70 - i) % 8]);
        u32 most = (a & s[(65 - i) % 8]) ^ (a & s[(66 - i) % 8]) ^ (s[(65 - i) % 8] & s[(66 - i) % 8]);
        u32 t = s[(71 - i) % 8] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + chosen + ROUND_CONSTANTS[i] + w[i % 16];
        s[(67 - i) % 8] += t;
        s[(71 - i) % 8] = t + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + most;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i)
        h[i] += s[i];
}

__device__ __forceinline__ void write_hash(u32 *to, const u32 (&h)[8])
{
#pragma unroll
    for (int i = 0; i < 8; ++i)
        to[i] = swap_bytes(h[i]);
}

// Hashes a byte and then `count` words as they lie in memory.
__device__ __forceinline__ void hash_prefixed(u32 *to, u32 prefix, const u32 *words, u32 count)
{
    u32 h[8], w[16], before = prefix, blocks = (4 * count + 9 + 63) / 64;
    begin_hash(h);
    for (u32 block = 0; block < blocks; ++block) {
#pragma unroll
        for (u32 i = 0; i < 16; ++i) {
            u32 place = 16 * block + i, word = place < count ? swap_bytes(words[place]) : place == count ? 0x80000000u : 0;
            w[i] = before << 24 | word >> 8;
            before = word & 0xFF;
        }
        if (block == blocks - 1)
            w[15] = 8 * (4 * count + 1);
        compress(h, w);
    }
    write_hash(to, h);
}

// --- Merkle trees: leaves first, then each level behind the one below, the root last ----------------------------------

// Hashes segments of a row of C: one thread for each; `words` is min(n, 512).
extern "C" __global__ void hash_segments(const uint4 *c, u32 *segments, u32 words)
{
    size_t thread = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    const uint4 *from = c + thread * (words / 4);
    u32 h[8], w[16];
    begin_hash(h);
    for (u32 block = 0; block < words / 16; ++block) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            uint4 four = from[4 * block + i];
            w[4 * i] = swap_bytes(four.x);
            w[4 * i + 1] = swap_bytes(four.y);
            w[4 * i + 2] = swap_bytes(four.z);
            w[4 * i + 3] = swap_bytes(four.w);
        }
        compress(h, w);
    }
#pragma unroll
    for (int i = 0; i < 16; ++i)
        w[i] = i == 0 ? 0x80000000u : i == 15 ? 32 * words : 0;
    compress(h, w);
    write_hash(segments + 8 * thread, h);
}

// Hashes the segments of each row to its leaf: one thread for each row.
extern "C" __global__ void hash_leaves(const u32 *segments, u32 *tree, u32 segments_of_row)
{
    u32 row = blockIdx.x * blockDim.x + threadIdx.x;
    hash_prefixed(tree + 8 * row, 0, segments + (size_t)row * 8 * segments_of_row, 8 * segments_of_row);
}

// Hashes up to nine levels above `level` of a tree over n leaves: each block those above 512 of its nodes.
extern "C" __global__ void hash_levels(u32 *tree, u32 n, u32 level)
{
    u32 nodes = min(n >> level, 2u * THREADS), first = blockIdx.x * nodes;
    for (; nodes > 1; nodes /= 2, first /= 2, ++level) {
        const u32 *below = tree + 8 * (size_t)(2 * n - (2 * n >> level) + first);
        u32 *above = tree + 8 * (size_t)(2 * n - (n >> level) + first / 2);
        if (threadIdx.x < nodes / 2)
            hash_prefixed(above + 8 * threadIdx.x, 1, below + 16 * threadIdx.x, 16);
        __syncthreads();
    }
}

// --- residency --------------------------------------------------------------------------------------------------------

// The finalizer of SplitMix64.
__device__ __forceinline__ u64 mix(u64 x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ x >> 27) * 0x94D049BB133111EBull;
    return x ^ x >> 31;
}

// Folds each row's sampled words to its leaf of the residency tree: one warp for each row.
extern "C" __global__ void fold_rows(const u32 *c, u32 *tree, u32 n, u32 stride, u64 of_round, u64 k2, u64 k3)
{
    u32 row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    u64 seed = mix(mix(of_round ^ row) ^ k2), fold = 0;
    u32 first = (u32)(mix(seed ^ k3) % stride);
    c += (size_t)row * n;
    for (u32 i = lane; i < n / stride; i += 32) {
        u32 place = (first + i / 8 * stride) * 8 + i % 8;
        fold += mix(seed ^ ((u64)place << 32 | c[place]));
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        fold += __shfl_xor_sync(0xFFFFFFFFu, fold, distance);
    if (lane == 0) {
        const u32 words[2] = {(u32)fold, (u32)(fold >> 32)};
        hash_prefixed(tree + 8 * row, 3, words, 2);
    }
}
