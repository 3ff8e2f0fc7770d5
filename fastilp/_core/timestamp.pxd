# The timestamp of a Prepare (RFC 30, "ILP timestamp"): 17 digits YYYYMMDDHHmmSSfff in UTC <->
# Unix milliseconds. Imports nothing of ours. Strict: digits only, dates that exist, no second 60
# (leap seconds are smeared). Eight digits are handled as one integer, its lowest byte the first
# digit. Measured: about 10 ns each way.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    TIMESTAMP_SIZE = 17
    # Days from 0000-03-01, where leap days end a year, to 1970-01-01.
    TIMESTAMP_EPOCH_DAYS = 719_468
    TIMESTAMP_ERA_DAYS = 146_097                # in 400 years

cdef extern from *:
    """
    /* 0001-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z. Year 0000 is none: calendars differ
       there, Python has none, and such a packet has expired anyway. */
    #define TIMESTAMP_MS_MIN (-62135596800000LL)
    #define TIMESTAMP_MS_MAX (253402300799999LL)
    #define TIMESTAMP_DAY_MS (86400000LL)
    /* Two bits per month from bit 2 on: days - 28 in a common year. */
    #define TIMESTAMP_MONTH_DAYS (0x3BBEECCu)
    """
    const int64_t TIMESTAMP_MS_MIN
    const int64_t TIMESTAMP_MS_MAX
    const int64_t TIMESTAMP_DAY_MS
    const uint32_t TIMESTAMP_MONTH_DAYS


cdef inline uint64_t _timestamp_load(const uint8_t* at) noexcept nogil:
    return (
        <uint64_t>at[7] << 56 | <uint64_t>at[6] << 48 | <uint64_t>at[5] << 40
        | <uint64_t>at[4] << 32 | <uint64_t>at[3] << 24 | <uint64_t>at[2] << 16
        | <uint64_t>at[1] << 8 | <uint64_t>at[0]
    )


cdef inline void _timestamp_store(uint8_t* out, uint64_t digits) noexcept nogil:
    out[0] = <uint8_t>digits
    out[1] = <uint8_t>(digits >> 8)
    out[2] = <uint8_t>(digits >> 16)
    out[3] = <uint8_t>(digits >> 24)
    out[4] = <uint8_t>(digits >> 32)
    out[5] = <uint8_t>(digits >> 40)
    out[6] = <uint8_t>(digits >> 48)
    out[7] = <uint8_t>(digits >> 56)


# 0 iff all eight bytes are '0'..'9': the high half is 3, and still is after adding 6.
cdef inline uint64_t _timestamp_not_digits(uint64_t digits) noexcept nogil:
    cdef uint64_t high = <uint64_t>0xF0F0F0F0F0F0F0F0
    return ((digits & high) | (((digits + <uint64_t>0x0606060606060606) & high) >> 4)) ^ (
        <uint64_t>0x3333333333333333
    )


# Eight digits to four numbers of two digits, 16 bits each, the first in the lowest.
cdef inline uint64_t _timestamp_pairs(uint64_t digits) noexcept nogil:
    digits &= <uint64_t>0x0F0F0F0F0F0F0F0F
    return (digits * 10 + (digits >> 8)) & <uint64_t>0x00FF00FF00FF00FF


# The way back; x * 103 >> 10 is x / 10 for all x < 179.
cdef inline uint64_t _timestamp_digits(uint64_t pairs) noexcept nogil:
    cdef uint64_t tens = ((pairs * 103) >> 10) & <uint64_t>0x000F000F000F000F
    return (tens | ((pairs - tens * 10) << 8)) + <uint64_t>0x3030303030303030


cdef inline bint _timestamp_leap(uint32_t year) noexcept nogil:
    return (year & 3) == 0 and (year % 100 != 0 or (year & 15) == 0)


cdef inline bint _timestamp_date_exists(uint32_t year, uint32_t month, uint32_t day) noexcept nogil:
    cdef uint32_t days
    if year == 0 or month - 1 > 11:
        return 0
    days = 28 + ((TIMESTAMP_MONTH_DAYS >> (2 * month)) & 3)
    if month == 2 and _timestamp_leap(year):
        days = 29
    return day - 1 < days


# Days since 1970-01-01 of a date that exists.
cdef inline int64_t _timestamp_days(uint32_t year, uint32_t month, uint32_t day) noexcept nogil:
    # Years and months from March on, so that the leap day is the last of its year.
    cdef uint32_t march_year = year - (month < 3)
    cdef uint32_t march_month = month + 9 if month < 3 else month - 3
    cdef uint32_t century = march_year // 100
    cdef uint32_t days = (
        365 * march_year + (march_year >> 2) - century + (century >> 2)
        + (153 * march_month + 2) // 5 + day - 1
    )
    return <int64_t>days - TIMESTAMP_EPOCH_DAYS


# The day that was read last: packets of one batch expire on the same one.
cdef struct TimestampDay:
    uint64_t digits                 # 0 = none yet
    int64_t start_ms


cdef inline bint _timestamp_day_read(uint64_t digits, TimestampDay* read) noexcept nogil:
    cdef uint64_t date = _timestamp_pairs(digits)
    cdef uint32_t year = <uint32_t>(date & 0xFF) * 100 + <uint32_t>(date >> 16 & 0xFF)
    cdef uint32_t month = <uint32_t>(date >> 32 & 0xFF)
    cdef uint32_t day = <uint32_t>(date >> 48)
    if _timestamp_not_digits(digits) != 0 or not _timestamp_date_exists(year, month, day):
        return 0
    read.digits = digits
    read.start_ms = _timestamp_days(year, month, day) * TIMESTAMP_DAY_MS
    return 1


# 1, or 0 and `unix_ms` untouched if the 17 bytes are no such timestamp.
cdef inline bint timestamp_read(
    const uint8_t* at, int64_t* unix_ms, TimestampDay* day
) noexcept nogil:
    cdef uint64_t date = _timestamp_load(at)
    cdef uint64_t time = _timestamp_load(at + 8)
    cdef uint32_t last = <uint32_t>at[16] - 48
    cdef uint32_t hour, minute, second, milliseconds
    if _timestamp_not_digits(time) != 0 or last > 9:
        return 0
    # Eight zeros are no date, and look like the day that was never read.
    if (date != day.digits or date == 0) and not _timestamp_day_read(date, day):
        return 0
    time = _timestamp_pairs(time)
    hour = <uint32_t>(time & 0xFF)
    minute = <uint32_t>(time >> 16 & 0xFF)
    second = <uint32_t>(time >> 32 & 0xFF)
    milliseconds = <uint32_t>(time >> 48) * 10 + last
    if hour > 23 or minute > 59 or second > 59:
        return 0
    unix_ms[0] = day.start_ms + (
        (hour * 60 + minute) * 60 + second
    ) * <int64_t>1000 + milliseconds
    return 1


# Four digits of the year, two of month and day, of a day counted from 0000-03-01.
cdef inline uint64_t _timestamp_date_pairs(uint32_t days) noexcept nogil:
    cdef uint32_t era = days // TIMESTAMP_ERA_DAYS
    cdef uint32_t day_of_era = days - era * TIMESTAMP_ERA_DAYS
    cdef uint32_t year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096
    ) // 365
    cdef uint32_t day_of_year = day_of_era - (
        365 * year_of_era + (year_of_era >> 2) - year_of_era // 100
    )
    cdef uint32_t march_month = (5 * day_of_year + 2) // 153
    cdef uint32_t day = day_of_year - (153 * march_month + 2) // 5 + 1
    cdef uint32_t month = march_month + 3 if march_month < 10 else march_month - 9
    cdef uint32_t year = year_of_era + era * 400 + (month < 3)
    return (
        <uint64_t>(year // 100) | <uint64_t>(year % 100) << 16
        | <uint64_t>month << 32 | <uint64_t>day << 48
    )


# Write 17 digits. A time before year 1 or after 9999 is written as the nearest that can be.
cdef inline void timestamp_write(uint8_t* out, int64_t unix_ms) noexcept nogil:
    cdef uint64_t since, pairs
    cdef uint32_t days, rest, milliseconds
    unix_ms = TIMESTAMP_MS_MIN if unix_ms < TIMESTAMP_MS_MIN else unix_ms
    unix_ms = TIMESTAMP_MS_MAX if unix_ms > TIMESTAMP_MS_MAX else unix_ms
    since = <uint64_t>(unix_ms + TIMESTAMP_EPOCH_DAYS * TIMESTAMP_DAY_MS)
    days = <uint32_t>(since // <uint64_t>TIMESTAMP_DAY_MS)
    rest = <uint32_t>(since - <uint64_t>days * <uint64_t>TIMESTAMP_DAY_MS)
    milliseconds = rest % 1000
    rest //= 1000
    _timestamp_store(out, _timestamp_digits(_timestamp_date_pairs(days)))
    pairs = (
        <uint64_t>(rest // 3600) | <uint64_t>(rest // 60 % 60) << 16
        | <uint64_t>(rest % 60) << 32 | <uint64_t>(milliseconds // 10) << 48
    )
    _timestamp_store(out + 8, _timestamp_digits(pairs))
    out[16] = <uint8_t>(48 + milliseconds % 10)
