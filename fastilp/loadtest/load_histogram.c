/* What is read from a histogram after a run; recording is inline in the header. */

#include "load_histogram.h"

#include <math.h>
#include <string.h>

void load_histogram_clear(LoadHistogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
    histogram->min = UINT64_MAX;
}

uint64_t load_histogram_value(size_t index)
{
    size_t shift = index >> LOAD_HISTOGRAM_STEP_BITS;
    uint64_t step;

    if (index < 2 * LOAD_HISTOGRAM_STEPS)
        return index;
    shift -= 1;
    step = index - (shift << LOAD_HISTOGRAM_STEP_BITS);
    return ((step + 1) << shift) - 1;
}

uint64_t load_histogram_quantile(const LoadHistogram *histogram, double share)
{
    uint64_t wanted, seen = 0, value;

    if (histogram->total == 0)
        return 0;
    wanted = (uint64_t)ceil(share * (double)histogram->total);
    if (wanted == 0)
        wanted = 1;
    for (size_t i = 0; i < LOAD_HISTOGRAM_COUNTS; i++) {
        seen += histogram->counts[i];
        if (seen >= wanted) {
            value = load_histogram_value(i);
            return value < histogram->max ? value : histogram->max;
        }
    }
    return histogram->max;
}
