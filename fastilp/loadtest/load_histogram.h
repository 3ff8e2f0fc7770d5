/* A histogram of latencies with three significant digits, for values from 1 ns to minutes.
 *
 * Log-linear, as HdrHistogram has it: 1,024 equal steps in each power of two, so that a value is
 * off by less than 0.1 %. It includes nothing of Python and never allocates: recording is one
 * shift and one increment. */

#ifndef FASTILP_LOAD_HISTOGRAM_H
#define FASTILP_LOAD_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum {
    LOAD_HISTOGRAM_STEP_BITS = 10,
    LOAD_HISTOGRAM_STEPS = 1 << LOAD_HISTOGRAM_STEP_BITS,
    /* 2^40 ns are 18 minutes; what took longer counts as that. */
    LOAD_HISTOGRAM_VALUE_BITS = 40,
    LOAD_HISTOGRAM_COUNTS =
        (LOAD_HISTOGRAM_VALUE_BITS - LOAD_HISTOGRAM_STEP_BITS + 1) * LOAD_HISTOGRAM_STEPS,
};

typedef struct {
    uint64_t total;
    uint64_t sum;
    uint64_t min;
    uint64_t max;
    uint64_t counts[LOAD_HISTOGRAM_COUNTS];
} LoadHistogram;

static inline size_t load_histogram_index(uint64_t value)
{
    unsigned top, shift;

    if (value >= (uint64_t)1 << LOAD_HISTOGRAM_VALUE_BITS)
        value = ((uint64_t)1 << LOAD_HISTOGRAM_VALUE_BITS) - 1;
    /* Below 2,048 every value has a count of its own. */
    top = 63u - (unsigned)__builtin_clzll(value | (2 * LOAD_HISTOGRAM_STEPS - 1));
    shift = top - LOAD_HISTOGRAM_STEP_BITS;
    return ((size_t)shift << LOAD_HISTOGRAM_STEP_BITS) + (size_t)(value >> shift);
}

static inline void load_histogram_record(LoadHistogram *histogram, uint64_t value)
{
    histogram->counts[load_histogram_index(value)]++;
    histogram->total++;
    histogram->sum += value;
    if (value > histogram->max)
        histogram->max = value;
    if (value < histogram->min)
        histogram->min = value;
}

void load_histogram_clear(LoadHistogram *histogram);

/* The highest value that shares a count with `index`. */
uint64_t load_histogram_value(size_t index);

/* The smallest recorded value that at least this share of all values does not exceed; 0 if there
 * are none. */
uint64_t load_histogram_quantile(const LoadHistogram *histogram, double share);

#endif
