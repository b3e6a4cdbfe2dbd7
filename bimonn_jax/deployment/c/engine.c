/* The engine of exported networks.

   The writer of C puts it into the file of a network, which is called "network" here: of what
   stands between "#if ENGINE_..." and the #endif that repeats it, the parts that the network needs;
   and in place of the parts ENGINE_EXAMPLE_... its own header, tables and calls. With the examples
   this file compiles by itself.

   ENGINE_WORDS: 64 samples to a word, else one sample at a time. ENGINE_GATES, ENGINE_RANKS,
   ENGINE_ENLARGE, ENGINE_PAD with ENGINE_ZERO, ENGINE_EDGE, ENGINE_REFLECT and ENGINE_WRAP: what
   calls need. ENGINE_BITS, ENGINE_VOTES or ENGINE_LINEAR: what comes out; with the last two
   ENGINE_CLASSIFY. ENGINE_COUNTER: what ENGINE_RANKS and ENGINE_VOTES need. */

#if ENGINE_EXAMPLE_HEADER
#include <stddef.h>
#include <stdint.h>

#define NETWORK_LANES 4

#if ENGINE_WORDS
typedef struct {
    uint64_t lane[NETWORK_LANES];
} network_block;
#else
typedef struct {
    uint8_t lane[1];
} network_block;
#endif

typedef struct {
    network_block image_0[18];
    network_block image_1[18];
} network_workspace;

#if ENGINE_VOTES
typedef int32_t network_output;
#elif ENGINE_LINEAR
typedef float network_output;
#else
typedef uint8_t network_output;
#endif

#ifdef __cplusplus
extern "C" {
#endif
size_t network_workspace_bytes(void);
void network_run(
    const uint8_t *inputs, size_t count, network_output *outputs, network_workspace *workspace);
void network_classify(
    const uint8_t *inputs, size_t count, uint16_t *outputs, network_workspace *workspace);
#ifdef __cplusplus
}
#endif
#endif /* ENGINE_EXAMPLE_HEADER */

#include <string.h>

#if ENGINE_WORDS
#define BITS 64
typedef uint64_t bits;
enum { LANES = NETWORK_LANES, SAMPLES = BITS * LANES };
#endif /* ENGINE_WORDS */

#if !ENGINE_WORDS
#define BITS 1
typedef uint8_t bits;
enum { LANES = 1, SAMPLES = BITS * LANES };
#endif /* !ENGINE_WORDS */

typedef network_block block;

#if ENGINE_GATES
/* All literals from set to clear must be set, all from clear to end must be clear; flip is all ones
   where the output is the complement of that. */
typedef struct {
    uint32_t set, clear, end;
    bits flip;
} gate;
#endif /* ENGINE_GATES */

#if ENGINE_RANKS
/* A gate of that number, at least rank of whose literals must hold, others than 1 and all. */
typedef struct {
    uint32_t number, set, clear, end, rank;
    bits flip;
} rank_gate;
#endif /* ENGINE_RANKS */

#if ENGINE_EXAMPLE_TABLES
/* Images of 3 x 3 numbers: level sets, erosions and dilations by 2 x 2 pixels, two classes. */
typedef uint8_t pixel;
enum { VALUES = 9, CHANNELS = 1, LEVELS = 1 };
static const pixel thresholds[CHANNELS][LEVELS] = {{128}};
typedef uint16_t literal;

#if ENGINE_GATES
static const literal literals_0[] = {0, 1, 4, 5, 0, 1, 4, 5, 0};
static const gate gates_0[] = {{0, 4, 4, 0}, {4, 4, 8, (bits)(~(bits)0)}};
#endif

#if ENGINE_RANKS
static const rank_gate ranks_0[] = {{1, 0, 2, 4, 3, 0}};
#endif

#if ENGINE_RANKS && !ENGINE_VOTES
enum { DIGITS = 4 };
#endif

#if ENGINE_VOTES
enum { CLASSES = 2, DIGITS = 4, MOST_AGAINST = 3 };
static const literal votes[] = {0, 2, 4, 6, 8, 1, 3, 5, 7, 9, 11, 13, 15, 17, 0, 2, 4, 0};
static const uint32_t votes_for[] = {0, 8};
static const uint32_t votes_against[] = {5, 14};
static const uint32_t votes_end[] = {8, 17};
#elif ENGINE_LINEAR
enum { FEATURES = 3, CLASSES = 2 };
static const float bias[CLASSES] = {0.5f, -0.5f};
static const float kernel[FEATURES][CLASSES] = {{1.0f, -1.0f}, {2.0f, 0.0f}, {-1.0f, 0.25f}};
#else
enum { OUTPUTS = 18 };
#endif
#endif /* ENGINE_EXAMPLE_TABLES */

#if ENGINE_WORDS
/* Packs the level sets of count samples, VALUES numbers each, one bit of the blocks per sample.
   TILE numbers of eight samples are compared at a time, so that no buffer grows with the image; the
   last tile ends with the image, and may do some of the one before again. */
enum { TILE = VALUES < 1024 ? VALUES : 1024, LAST_TILE = VALUES - TILE };

static void pack_tile(const pixel *samples, size_t count, const pixel *limits, int lane, block *out)
{
    uint8_t octets[8][TILE];
    for (int k = 0; k < 8; k++) {
        size_t first = (size_t)lane * 64 + (size_t)k * 8;
        size_t end = first + 8 < count ? first + 8 : count;
        memset(octets[k], 0, TILE);
        /* The latest samples come first: each one moves them up by a bit. */
        for (size_t s = end; s-- > first;) {
            const pixel *sample = samples + s * VALUES;
            for (int v = 0; v < TILE; v++)
                octets[k][v] = (uint8_t)(2 * octets[k][v] + (sample[v] >= limits[v]));
        }
    }
    for (int v = 0; v < TILE; v++) {
        bits word = 0;
        for (int k = 0; k < 8; k++)
            word |= (bits)octets[k][v] << (8 * k);
        out[v * LEVELS].lane[lane] = word;
    }
}

static void pack(const pixel *samples, size_t count, block *out)
{
    pixel limits[TILE];
    for (int level = 0; level < LEVELS; level++)
        for (int start = 0; start < VALUES; start += TILE) {
            if (start > LAST_TILE)
                start = LAST_TILE;
            for (int v = 0; v < TILE; v++)
                limits[v] = thresholds[(start + v) % CHANNELS][level];
            for (int lane = 0; lane < LANES; lane++)
                pack_tile(samples + start, count, limits, lane, out + start * LEVELS + level);
        }
}
#endif /* ENGINE_WORDS */

#if !ENGINE_WORDS
/* The level sets of one sample, VALUES numbers. */
static void pack(const pixel *sample, size_t count, block *out)
{
    (void)count;
    for (int v = 0; v < VALUES; v++)
        for (int level = 0; level < LEVELS; level++)
            out[v * LEVELS + level].lane[0] = sample[v] >= thresholds[v % CHANNELS][level];
}
#endif /* !ENGINE_WORDS */

#if ENGINE_ZERO
/* The pixel that stands at index i of the padding, -1 for none. */
static int zero_source(int i, int size)
{
    return i < 0 || i >= size ? -1 : i;
}
#endif /* ENGINE_ZERO */

#if ENGINE_EDGE
/* The pixel that stands at index i of the padding. */
static int edge_source(int i, int size)
{
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}
#endif /* ENGINE_EDGE */

#if ENGINE_REFLECT
/* The pixel that stands at index i of the padding. */
static int reflect_source(int i, int size)
{
    return i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i;
}
#endif /* ENGINE_REFLECT */

#if ENGINE_WRAP
/* The pixel that stands at index i of the padding. */
static int wrap_source(int i, int size)
{
    return (i + size) % size;
}
#endif /* ENGINE_WRAP */

#if ENGINE_PAD
/* A padded copy of an image; source(i, size) is the row or column that i shows, -1 for none. Pixels
   of out have channels_of_out channels, the first of which are written. */
static void pad(const block *image, int height, int width, int channels, int top, int bottom,
    int left, int right, int (*source)(int, int), int channels_of_out, block *out)
{
    size_t pixel_size = sizeof(block) * (size_t)channels, at = 0;
    for (int y = -top; y < height + bottom; y++)
        for (int x = -left; x < width + right; x++, at += (size_t)channels_of_out) {
            int from_y = source(y, height), from_x = source(x, width);
            if (from_y < 0 || from_x < 0)
                memset(out + at, 0, pixel_size);
            else
                memcpy(out + at, image + (from_y * width + from_x) * channels, pixel_size);
        }
}
#endif /* ENGINE_PAD */

#if ENGINE_ENLARGE
/* A copy of an image, each pixel factor x factor times, cut to height x width. Pixels of out have
   channels_of_out channels, the first of which are written. */
static void enlarge(const block *image, int width_of_image, int channels, int factor, int height,
    int width, int channels_of_out, block *out)
{
    size_t pixel_size = sizeof(block) * (size_t)channels, at = 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, at += (size_t)channels_of_out) {
            int from = (y / factor * width_of_image + x / factor) * channels;
            memcpy(out + at, image + from, pixel_size);
        }
}
#endif /* ENGINE_ENLARGE */

#if ENGINE_GATES
/* Gates at every position of their window; out is the union over pool x pool positions. */
static void apply_gates(const block *image, int row_of_image, int channels, int height, int width,
    int pool, const gate *gates, int count, const literal *literals, block *out)
{
    int columns = (width + pool - 1) / pool, rows = (height + pool - 1) / pool;
    memset(out, 0, sizeof(block) * (size_t)(rows * columns * count));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const block *window = image + (y * row_of_image + x) * channels;
            block *found = out + (y / pool * columns + x / pool) * count;
            for (int g = 0; g < count; g++) {
                block holds;
                for (int l = 0; l < LANES; l++)
                    holds.lane[l] = (bits)(~(bits)0);
                for (uint32_t i = gates[g].set; i < gates[g].clear; i++) {
                    const block *input = window + literals[i];
                    for (int l = 0; l < LANES; l++)
                        holds.lane[l] &= input->lane[l];
                    if (BITS == 1 && !(holds.lane[0] & 1))
                        break;
                }
                for (uint32_t i = gates[g].clear; i < gates[g].end; i++) {
                    const block *input = window + literals[i];
                    for (int l = 0; l < LANES; l++)
                        holds.lane[l] &= (bits)~input->lane[l];
                    if (BITS == 1 && !(holds.lane[0] & 1))
                        break;
                }
                for (int l = 0; l < LANES; l++)
                    found[g].lane[l] |= holds.lane[l] ^ gates[g].flip;
            }
        }
}
#endif /* ENGINE_GATES */

#if ENGINE_VOTES && ENGINE_WORDS
typedef int32_t output;
enum { OUTPUTS = CLASSES };
#endif /* ENGINE_VOTES && ENGINE_WORDS */

#if ENGINE_COUNTER && ENGINE_WORDS
/* Why the counts are right, for whatever votes.

   Between calls of carry_on, with C[d] = carry[d] where a carry waits at d and 0 elsewhere,
       from + votes so far = sum over d of 2^d (digit[d] + C[d])    (mod 2^DIGITS)
   in every bit of the lanes. start_counting sets the digits of from, and nothing waits. One vote is
   added to digit 0, which leaves a carry of weight 2. Of seven votes, ones + 2 twos + 4 fours is
   the number, so that digits 0 to 2 take them up and one carry of weight 8 is left. A carry at
   d < DIGITS, of weight 2^d, either comes to wait where none does, or is added with the one that
   waits: digit + two carries, at most 3, is a new digit and a carry of weight 2^(d + 1), with which
   carry_on goes on. A carry at DIGITS has the weight 2^DIGITS, 0 in that arithmetic, and is
   dropped. finish_counting adds what waits. DIGITS is at least 3, so digits 0 to 2 exist. */

/* Counts of set bits, one per sample, as binary digits; carries wait for a second one. */
typedef struct {
    block digit[DIGITS], carry[DIGITS];
    uint32_t waiting;
} counter;

static void start_counting(counter *c, uint32_t from)
{
    c->waiting = 0;
    for (int d = 0; d < DIGITS; d++)
        for (int l = 0; l < LANES; l++)
            c->digit[d].lane[l] = (from >> d) & 1 ? (bits)(~(bits)0) : 0;
}

/* Of three bits, whether one or all are set, and whether two or all are. */
static inline bits sum(bits a, bits b, bits c)
{
    return a ^ b ^ c;
}

static inline bits majority(bits a, bits b, bits c)
{
    return (a & b) | ((a ^ b) & c);
}

/* Adds a and b to a digit; the carry goes to a. */
static void add(block *digit, block *a, const block *b)
{
    for (int l = 0; l < LANES; l++) {
        bits carry = majority(digit->lane[l], a->lane[l], b->lane[l]);
        digit->lane[l] = sum(digit->lane[l], a->lane[l], b->lane[l]);
        a->lane[l] = carry;
    }
}

/* Adds a carry to digit d: with the one that waits there, or to wait itself. Totals have DIGITS
   digits, so what is carried out of the last one counts for nothing. */
static void carry_on(counter *c, block carry, int d)
{
    for (; d < DIGITS && (c->waiting >> d & 1); d++) {
        add(&c->digit[d], &carry, &c->carry[d]);
        c->waiting ^= (uint32_t)1 << d;
    }
    if (d < DIGITS) {
        c->carry[d] = carry;
        c->waiting |= (uint32_t)1 << d;
    }
}

static const block zero = {{0}};

static void count_votes(
    counter *c, const block *features, const literal *voters, uint32_t count, bits flip)
{
    uint32_t i = 0;
    /* Seven votes at a time: their sum has three digits, and is ready before the last one's. */
    for (; i + 7 <= count; i += 7) {
        block carry;
        for (int l = 0; l < LANES; l++) {
            bits v[7], ones, twos, fours, low, high;
            for (int k = 0; k < 7; k++)
                v[k] = features[voters[i + (uint32_t)k]].lane[l] ^ flip;
            bits first = sum(v[0], v[1], v[2]), second = sum(v[3], v[4], v[5]);
            bits carries[3] = {majority(v[0], v[1], v[2]), majority(v[3], v[4], v[5]),
                majority(first, second, v[6])};
            ones = sum(first, second, v[6]);
            twos = sum(carries[0], carries[1], carries[2]);
            fours = majority(carries[0], carries[1], carries[2]);
            low = c->digit[0].lane[l] & ones;
            c->digit[0].lane[l] ^= ones;
            high = majority(c->digit[1].lane[l], twos, low);
            c->digit[1].lane[l] = sum(c->digit[1].lane[l], twos, low);
            carry.lane[l] = majority(c->digit[2].lane[l], fours, high);
            c->digit[2].lane[l] = sum(c->digit[2].lane[l], fours, high);
        }
        carry_on(c, carry, 3);
    }
    for (; i < count; i++) {
        block carry;
        for (int l = 0; l < LANES; l++)
            carry.lane[l] = features[voters[i]].lane[l] ^ flip;
        add(&c->digit[0], &carry, &zero);
        carry_on(c, carry, 1);
    }
}

static void finish_counting(counter *c)
{
    for (int first = 1; first < DIGITS; first++)
        if (c->waiting >> first & 1) {
            block carry = c->carry[first];
            for (int d = first; d < DIGITS; d++)
                add(&c->digit[d], &carry, &zero);
        }
}
#endif /* ENGINE_COUNTER && ENGINE_WORDS */

#if ENGINE_RANKS && ENGINE_WORDS
/* Why the last digit says whether a gate holds: with T = 2^(DIGITS - 1), counting starts from
   T - rank. The writer takes DIGITS so large that every rank is at most T and that fewer than T
   literals are left above any rank. So the total, T - rank + those that hold, is from 0 to 2 T - 1:
   it fits into the digits, and the last one is set if and only if the total is at least T, which is
   when at least rank literals hold. */

/* Adds so many bits, two by two, to a digit; half as many carries take their place. */
static inline void add_pairs(bits *digit, bits *v, int count)
{
    for (int k = 0; k < count; k += 2) {
        bits a = v[k], b = v[k + 1];
        v[k / 2] = majority(*digit, a, b);
        *digit = sum(*digit, a, b);
    }
}

/* Sixteen literals at a time, as long as there are so many; returns how many were counted. They
   leave eight carries of weight 2, these four of weight 4, two of weight 8, and one of weight 16,
   each with a digit, so that DIGITS must be at least 4. */
static uint32_t count_many(
    counter *c, const block *window, const literal *literals, uint32_t count, bits flip)
{
    uint32_t i = 0;
    for (; i + 16 <= count; i += 16) {
        block carry;
        for (int l = 0; l < LANES; l++) {
            bits v[16];
            for (int k = 0; k < 16; k++)
                v[k] = window[literals[i + (uint32_t)k]].lane[l] ^ flip;
            add_pairs(&c->digit[0].lane[l], v, 16);
            add_pairs(&c->digit[1].lane[l], v, 8);
            add_pairs(&c->digit[2].lane[l], v, 4);
            add_pairs(&c->digit[3].lane[l], v, 2);
            carry.lane[l] = v[0];
        }
        carry_on(c, carry, 4);
    }
    return i;
}

static void count_literals(
    counter *c, const block *window, const literal *literals, uint32_t count, bits flip)
{
    uint32_t counted = 0;
    if (DIGITS >= 4)
        counted = count_many(c, window, literals, count, flip);
    count_votes(c, window, literals + counted, count - counted, flip);
}

static void apply_ranks(const block *image, int row_of_image, int channels, int height, int width,
    int pool, int count, const rank_gate *ranks, int count_of_ranks, const literal *literals,
    block *out)
{
    int columns = (width + pool - 1) / pool;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const block *window = image + (y * row_of_image + x) * channels;
            block *found = out + (y / pool * columns + x / pool) * count;
            for (int r = 0; r < count_of_ranks; r++) {
                const rank_gate *g = ranks + r;
                counter total;
                start_counting(&total, ((uint32_t)1 << (DIGITS - 1)) - g->rank);
                count_literals(&total, window, literals + g->set, g->clear - g->set, 0);
                count_literals(&total, window, literals + g->clear, g->end - g->clear, ~(bits)0);
                finish_counting(&total);
                for (int l = 0; l < LANES; l++)
                    found[g->number].lane[l] |= total.digit[DIGITS - 1].lane[l] ^ g->flip;
            }
        }
}
#endif /* ENGINE_RANKS && ENGINE_WORDS */

#if ENGINE_RANKS && !ENGINE_WORDS
/* Gates of ranks, beside those that apply_gates has put into out; it ends where it is decided. The
   loops are those of words once more: with one frame for both and a function for one window, GCC
   makes programs that are a third slower at -O2. */
static void apply_ranks(const block *image, int row_of_image, int channels, int height, int width,
    int pool, int count, const rank_gate *ranks, int count_of_ranks, const literal *literals,
    block *out)
{
    int columns = (width + pool - 1) / pool;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const block *window = image + (y * row_of_image + x) * channels;
            block *found = out + (y / pool * columns + x / pool) * count;
            for (int r = 0; r < count_of_ranks; r++) {
                const rank_gate *g = ranks + r;
                uint32_t missing = g->rank;
                /* Until no more are missing, or more than there are left. */
                for (uint32_t i = g->set; missing && missing <= g->end - i; i++)
                    missing -= (window[literals[i]].lane[0] & 1) ^ (i >= g->clear);
                found[g->number].lane[0] |= (bits)((missing == 0) ^ (g->flip & 1));
            }
        }
}
#endif /* ENGINE_RANKS && !ENGINE_WORDS */

#if ENGINE_VOTES && ENGINE_WORDS
/* Why totals are right: total_of starts from MOST_AGAINST - against, and counts votes for, and
   votes against that are not cast. So it ends at MOST_AGAINST + score, at least 0, and at most
   MOST_AGAINST plus the most votes for a class. DIGITS is at least the number of binary digits of
   that, so the total is below 2^DIGITS and is what the digits say. Heads have at most 2^24 features
   (bimonn_jax.neurons.heads.check_countable), so totals are at most 2^25: sums in int32_t hold it,
   and more digits than 26 are 0. */

/* The votes of a class, as a number that is never negative. */
static void total_of(int k, const block *features, counter *c)
{
    uint32_t against = votes_end[k] - votes_against[k];
    start_counting(c, MOST_AGAINST - against);
    count_votes(c, features, votes + votes_for[k], votes_against[k] - votes_for[k], 0);
    count_votes(c, features, votes + votes_against[k], against, ~(bits)0);
    finish_counting(c);
}

static void write_outputs(const block *features, size_t count, output *scores)
{
    for (int k = 0; k < CLASSES; k++) {
        counter total;
        total_of(k, features, &total);
        for (size_t s = 0; s < count; s++) {
            int32_t value = -MOST_AGAINST;
            for (int d = 0; d < DIGITS; d++)
                value += (int32_t)(total.digit[d].lane[s / BITS] >> (s % BITS) & 1) << d;
            scores[s * CLASSES + (size_t)k] = value;
        }
    }
}

/* The first class with the largest score, of all samples of a block at once. */
static void choose(const block *features, size_t count, uint16_t *classes)
{
    counter best, total;
    block chosen[16];
    memset(chosen, 0, sizeof chosen);
    total_of(0, features, &best);
    for (int k = 1; k < CLASSES; k++) {
        total_of(k, features, &total);
        for (int l = 0; l < LANES; l++) {
            bits greater = 0, equal = ~(bits)0;
            for (int d = DIGITS; d-- > 0;) {
                bits mine = total.digit[d].lane[l], old = best.digit[d].lane[l];
                greater |= equal & mine & ~old;
                equal &= ~(mine ^ old);
            }
            for (int d = 0; d < DIGITS; d++)
                best.digit[d].lane[l] =
                    (best.digit[d].lane[l] & ~greater) | (total.digit[d].lane[l] & greater);
            for (int b = 0; b < 16; b++)
                chosen[b].lane[l] =
                    k >> b & 1 ? chosen[b].lane[l] | greater : chosen[b].lane[l] & ~greater;
        }
    }
    for (size_t s = 0; s < count; s++) {
        unsigned winner = 0;
        for (int b = 0; (CLASSES - 1) >> b; b++)
            winner |= (unsigned)(chosen[b].lane[s / BITS] >> (s % BITS) & 1) << b;
        classes[s] = (uint16_t)winner;
    }
}
#endif /* ENGINE_VOTES && ENGINE_WORDS */

#if ENGINE_VOTES && !ENGINE_WORDS
typedef int32_t output;
enum { OUTPUTS = CLASSES };

/* Votes for class k minus votes against it. A vote is 0 or 1, and plain sums are the fastest. At
   most 2^24 features vote for a class and as many against it, so every partial sum fits int32_t. */
static int32_t score_of(int k, const block *features)
{
    int32_t score = 0;
    for (uint32_t i = votes_for[k]; i < votes_against[k]; i++)
        score += features[votes[i]].lane[0] & 1;
    for (uint32_t i = votes_against[k]; i < votes_end[k]; i++)
        score -= features[votes[i]].lane[0] & 1;
    return score;
}

static void write_outputs(const block *features, size_t count, output *scores)
{
    (void)count;
    for (int k = 0; k < CLASSES; k++)
        scores[k] = score_of(k, features);
}

/* The first class with the largest score. */
static void choose(const block *features, size_t count, uint16_t *classes)
{
    int winner = 0;
    int32_t best = score_of(0, features);
    (void)count;
    for (int k = 1; k < CLASSES; k++) {
        int32_t mine = score_of(k, features);
        if (mine > best) {
            best = mine;
            winner = k;
        }
    }
    classes[0] = (uint16_t)winner;
}
#endif /* ENGINE_VOTES && !ENGINE_WORDS */

#if ENGINE_LINEAR
typedef float output;
enum { OUTPUTS = CLASSES };

static void score_sample(const block *features, size_t s, float *scores)
{
    memcpy(scores, bias, sizeof bias);
    for (int f = 0; f < FEATURES; f++)
        if (features[f].lane[s / BITS] >> (s % BITS) & 1)
            for (int k = 0; k < CLASSES; k++)
                scores[k] += kernel[f][k];
}

static void write_outputs(const block *features, size_t count, output *scores)
{
    for (size_t s = 0; s < count; s++)
        score_sample(features, s, scores + s * CLASSES);
}

static void choose(const block *features, size_t count, uint16_t *classes)
{
    for (size_t s = 0; s < count; s++) {
        float scores[CLASSES];
        int best = 0;
        score_sample(features, s, scores);
        for (int k = 1; k < CLASSES; k++)
            if (scores[k] > scores[best])
                best = k;
        classes[s] = (uint16_t)best;
    }
}
#endif /* ENGINE_LINEAR */

#if ENGINE_BITS
typedef uint8_t output;

static void write_outputs(const block *found, size_t count, output *out)
{
    for (size_t s = 0; s < count; s++)
        for (int v = 0; v < OUTPUTS; v++)
            out[s * OUTPUTS + (size_t)v] = (uint8_t)(found[v].lane[s / BITS] >> (s % BITS) & 1);
}
#endif /* ENGINE_BITS */

#if ENGINE_EXAMPLE_CALLS
static const block *compute(network_workspace *w)
{
#if ENGINE_PAD && ENGINE_ZERO
    pad(w->image_0, 3, 3, 1, 1, 0, 0, 1, zero_source, 1, w->image_1);
#endif
#if ENGINE_PAD && ENGINE_EDGE
    pad(w->image_0, 3, 3, 1, 1, 0, 0, 1, edge_source, 1, w->image_1);
#endif
#if ENGINE_PAD && ENGINE_REFLECT
    pad(w->image_0, 3, 3, 1, 1, 0, 0, 1, reflect_source, 1, w->image_1);
#endif
#if ENGINE_PAD && ENGINE_WRAP
    pad(w->image_0, 3, 3, 1, 1, 0, 0, 1, wrap_source, 1, w->image_1);
#endif
#if ENGINE_GATES
    apply_gates(w->image_1, 4, 1, 3, 3, 1, gates_0, 2, literals_0, w->image_0);
#endif
#if ENGINE_RANKS
    apply_ranks(w->image_1, 4, 1, 3, 3, 1, 2, ranks_0, 1, literals_0, w->image_0);
#endif
#if ENGINE_ENLARGE
    enlarge(w->image_0, 3, 1, 2, 4, 4, 1, w->image_1);
#endif
    return w->image_0;
}
#endif /* ENGINE_EXAMPLE_CALLS */

size_t network_workspace_bytes(void)
{
    return sizeof(network_workspace);
}

void network_run(const pixel *inputs, size_t count, output *outputs, network_workspace *workspace)
{
    for (size_t first = 0; first < count; first += SAMPLES) {
        size_t samples = SAMPLES;
        if (samples > count - first)
            samples = count - first;
        pack(inputs + first * VALUES, samples, workspace->image_0);
        write_outputs(compute(workspace), samples, outputs + first * OUTPUTS);
    }
}

#if ENGINE_CLASSIFY
void network_classify(
    const pixel *inputs, size_t count, uint16_t *outputs, network_workspace *workspace)
{
    for (size_t first = 0; first < count; first += SAMPLES) {
        size_t samples = SAMPLES;
        if (samples > count - first)
            samples = count - first;
        pack(inputs + first * VALUES, samples, workspace->image_0);
        choose(compute(workspace), samples, outputs + first);
    }
}
#endif /* ENGINE_CLASSIFY */

#ifdef NETWORK_MAIN
#include <stdio.h>

/* Reads inputs from standard input and writes the outputs of each to standard output. */
int main(void)
{
    /* Small inputs are read a block at once. */
    enum { AT_ONCE = VALUES < 4096 - OUTPUTS ? SAMPLES : 1 };
    static network_workspace workspace;
    static pixel input[(size_t)AT_ONCE * VALUES];
    static output found[(size_t)AT_ONCE * OUTPUTS];
    size_t read;
    while ((read = fread(input, sizeof *input, (size_t)AT_ONCE * VALUES, stdin)) != 0) {
        size_t count = read / VALUES;
        network_run(input, count, found, &workspace);
        if (fwrite(found, sizeof *found, count * OUTPUTS, stdout) != count * OUTPUTS)
            return 1;
        if (read % VALUES != 0) {
            fprintf(stderr, "the last input is cut short\n");
            return 1;
        }
    }
    return 0;
}
#endif
