"""The part of the exported C code that is the same for all networks."""

# Of the header: {word} and {lanes} are the type and the number of words in a block.
TYPES = """
/* One bit of {samples}. */
typedef struct {{
    {word} lane[{lanes}];
}} {name}_block;

/* What a call works in: yours, one per thread. Nothing in it is kept from call to call. */
typedef struct {{
{members}
}} {name}_workspace;
"""

GATE = """
/* All literals from set to clear must be set, all from clear to end must be clear; flip is all ones
   where the output is the complement of that. */
typedef struct {
    uint32_t set, clear, end;
    bits flip;
} gate;
"""

PACK = """
/* Packs the level sets of count samples, VALUES numbers each, one bit of the blocks per sample.
   TILE numbers of eight samples are compared at a time, so that no buffer grows with the image; the
   last tile ends with the image, and may do some of the one before again. */
enum { TILE = VALUES < 1024 ? VALUES : 1024, LAST_TILE = VALUES - TILE };

static void pack_tile(
    const pixel *samples, size_t count, const pixel *limits, int lane, block *out)
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
"""

PACK_ONE = """
/* The level sets of one sample, VALUES numbers. */
static void pack(const pixel *sample, size_t count, block *out)
{
    (void)count;
    for (int v = 0; v < VALUES; v++)
        for (int level = 0; level < LEVELS; level++)
            out[v * LEVELS + level].lane[0] = sample[v] >= thresholds[v % CHANNELS][level];
}
"""

GATES = """
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
                    holds.lane[l] = (bits)~(bits)0;
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
"""

# By border: the index of the pixel that stands at index i of the padding.
SOURCES = {
    "zero": "i < 0 || i >= size ? -1 : i",
    "edge": "i < 0 ? 0 : i >= size ? size - 1 : i",
    "reflect": "i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i",
    "wrap": "(i + size) % size",
}

SOURCE = """
static int {border}_source(int i, int size)
{{
    return {expression};
}}
"""

PAD = """
/* A padded copy of an image; source(i, size) is the row or column that i shows, -1 for none. Pixels
   of out have so many channels, the first of which are written. */
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
"""

ENLARGE = """
/* A copy of an image, each pixel factor x factor times, cut to height x width. Pixels of out have
   so many channels, the first of which are written. */
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
"""

# Why the counts are right, for whatever votes.
#
# Between calls of carry_on, with C[d] = carry[d] where a carry waits at d and 0 elsewhere,
#     from + votes so far = sum over d of 2^d (digit[d] + C[d])    (mod 2^DIGITS)
# in every bit of the lanes. start_counting sets the digits of `from`, and nothing waits. One vote
# is added to digit 0, which leaves a carry of weight 2. Of seven votes, sum + 2 twos + 4 fours is
# the number, so that digits 0 to 2 take them up and one carry of weight 8 is left. A carry at
# d < DIGITS, of weight 2^d, either comes to wait where none does, or is added with the one that
# waits: digit + two carries, at most 3, is a new digit and a carry of weight 2^(d + 1), with which
# carry_on goes on. A carry at DIGITS has the weight 2^DIGITS, 0 in that arithmetic, and is dropped.
# finish_counting adds what waits.
#
# total_of starts from MOST_AGAINST - against, and counts votes for, and votes against that are not
# cast. So it ends at MOST_AGAINST + score, at least 0, and at most MOST_AGAINST plus the most votes
# for a class: DIGITS is the number of binary digits of that, so the total is below 2^DIGITS and is
# what the digits say. It is at least 3, so digits 0 to 2 exist. Heads have at most 2^24 features
# (`bimonn_jax.neurons.heads.check_countable`), so totals are at most 2^25 and DIGITS is at most 26:
# shifts of uint32_t and sums in int32_t hold it.
VOTES = """
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
            c->digit[d].lane[l] = (from >> d) & 1 ? (bits)~(bits)0 : 0;
}

/* Adds a and b to a digit; the carry goes to a. */
static void add(block *digit, block *a, const block *b)
{
    for (int l = 0; l < LANES; l++) {
        bits sum = digit->lane[l] ^ a->lane[l];
        bits carry = (digit->lane[l] & a->lane[l]) | (sum & b->lane[l]);
        digit->lane[l] = sum ^ b->lane[l];
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

/* Sum and carry of three bits. */
#define SUM(a, b, c) ((a) ^ (b) ^ (c))
#define CARRY(a, b, c) (((a) & (b)) | (((a) ^ (b)) & (c)))

static const block zero = {{0}};

static void count_votes(
    counter *c, const block *features, const literal *voters, uint32_t count, bits flip)
{
    uint32_t i = 0;
    /* Seven votes at a time: their sum has three digits, and is ready before the last one's. */
    for (; i + 7 <= count; i += 7) {
        block carry;
        for (int l = 0; l < LANES; l++) {
            bits v[7], sum, twos, fours, low, high;
            for (int k = 0; k < 7; k++)
                v[k] = features[voters[i + (uint32_t)k]].lane[l] ^ flip;
            bits first = SUM(v[0], v[1], v[2]), second = SUM(v[3], v[4], v[5]);
            bits carries[3] = {CARRY(v[0], v[1], v[2]), CARRY(v[3], v[4], v[5]),
                CARRY(first, second, v[6])};
            sum = SUM(first, second, v[6]);
            twos = SUM(carries[0], carries[1], carries[2]);
            fours = CARRY(carries[0], carries[1], carries[2]);
            low = c->digit[0].lane[l] & sum;
            c->digit[0].lane[l] ^= sum;
            high = CARRY(c->digit[1].lane[l], twos, low);
            c->digit[1].lane[l] = SUM(c->digit[1].lane[l], twos, low);
            carry.lane[l] = CARRY(c->digit[2].lane[l], fours, high);
            c->digit[2].lane[l] = SUM(c->digit[2].lane[l], fours, high);
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

/* The votes of a class, as a number that is never negative. */
static void total_of(int k, const block *features, counter *c)
{
    uint32_t against = votes_end[k] - votes_against[k];
    start_counting(c, MOST_AGAINST - against);
    count_votes(c, features, votes + votes_for[k], votes_against[k] - votes_for[k], 0);
    count_votes(c, features, votes + votes_against[k], against, ~(bits)0);
    finish_counting(c);
}

static void score(const block *features, size_t count, int32_t *scores)
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
                best.digit[d].lane[l] = (best.digit[d].lane[l] & ~greater)
                    | (total.digit[d].lane[l] & greater);
            for (int b = 0; b < 16; b++)
                chosen[b].lane[l] = (k >> b & 1 ? chosen[b].lane[l] | greater
                                                : chosen[b].lane[l] & ~greater);
        }
    }
    for (size_t s = 0; s < count; s++) {
        unsigned winner = 0;
        for (int b = 0; (CLASSES - 1) >> b; b++)
            winner |= (unsigned)(chosen[b].lane[s / BITS] >> (s % BITS) & 1) << b;
        classes[s] = (uint16_t)winner;
    }
}
"""

# Of one sample at a time a vote is 0 or 1, and plain sums are the fastest. At most 2^24 features
# vote for a class and as many against it, so every partial sum fits int32_t.
VOTES_OF_ONE = """
/* Votes for class k minus votes against it. */
static int32_t score_of(int k, const block *features)
{
    int32_t score = 0;
    for (uint32_t i = votes_for[k]; i < votes_against[k]; i++)
        score += features[votes[i]].lane[0] & 1;
    for (uint32_t i = votes_against[k]; i < votes_end[k]; i++)
        score -= features[votes[i]].lane[0] & 1;
    return score;
}

static void score(const block *features, size_t count, int32_t *scores)
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
"""

LINEAR = """
static void score_sample(const block *features, size_t s, float *scores)
{
    memcpy(scores, bias, sizeof bias);
    for (int f = 0; f < FEATURES; f++)
        if (features[f].lane[s / BITS] >> (s % BITS) & 1)
            for (int k = 0; k < CLASSES; k++)
                scores[k] += kernel[f][k];
}

static void score(const block *features, size_t count, float *scores)
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
"""

UNPACK = """
static void unpack(const block *found, size_t count, uint8_t *out)
{
    for (size_t s = 0; s < count; s++)
        for (int v = 0; v < OUTPUTS; v++)
            out[s * OUTPUTS + (size_t)v] = (uint8_t)(found[v].lane[s / BITS] >> (s % BITS) & 1);
}
"""

RUN = """
void {name}_{function}(
    const pixel *inputs, size_t count, {result} *outputs, {name}_workspace *workspace)
{{
    for (size_t first = 0; first < count; first += SAMPLES) {{
        size_t samples = SAMPLES;
        if (samples > count - first)
            samples = count - first;
        pack(inputs + first * VALUES, samples, workspace->image_0);
        compute(workspace);
        {finish}(workspace->{last}, samples, outputs + first * {width});
    }}
}}
"""

MAIN = """
#ifdef {macro}_MAIN
#include <stdio.h>

/* Reads inputs from standard input and writes the outputs of each to standard output. */
int main(void)
{{
    enum {{ AT_ONCE = {at_once} }};
    static {name}_workspace workspace;
    static pixel input[(size_t)AT_ONCE * VALUES];
    static {result} output[(size_t)AT_ONCE * {width}];
    size_t read;
    while ((read = fread(input, sizeof *input, (size_t)AT_ONCE * VALUES, stdin)) != 0) {{
        size_t count = read / VALUES;
        {name}_run(input, count, output, &workspace);
        if (fwrite(output, sizeof *output, count * {width}, stdout) != count * {width})
            return 1;
        if (read % VALUES != 0) {{
            fprintf(stderr, "the last input is cut short\\n");
            return 1;
        }}
    }}
    return 0;
}}
#endif
"""
