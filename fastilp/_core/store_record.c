/* What a journal record looks like, all numbers little-endian:
 *
 *   u16 format, u16 zero, u32 rows, u32 controls, u32 zero, u64 first ticket, u64 ticket
 *   rows x 128 bytes, each starting with its account's id
 *   controls x { u32 key size, u32 value size or ffffffff for a delete, key, value }
 *
 * Rows are absolute and the newest wins; controls are applied in order. So a row of records that
 * follow each other can be applied again, whole, and leaves the same state. */

#include "store_state.h"

#include <string.h>

void store_number_put(uint8_t *at, uint64_t number, int size)
{
    for (int i = 0; i < size; i++)
        at[i] = (uint8_t)(number >> (8 * i));
}

uint64_t store_number_get(const uint8_t *at, int size)
{
    uint64_t number = 0;

    for (int i = size - 1; i >= 0; i--)
        number = number << 8 | at[i];
    return number;
}

size_t store_record_size(const StoreBatch *batch)
{
    return STORE_RECORD_HEADER_BYTES + (size_t)batch->row_count * STORE_ROW_BYTES
        + batch->control_size;
}

void store_record_write(uint8_t *at, const StoreBatch *batch)
{
    size_t rows_size = (size_t)batch->row_count * STORE_ROW_BYTES;

    memset(at, 0, STORE_RECORD_HEADER_BYTES);
    store_number_put(at, STORE_FORMAT, 2);
    store_number_put(at + 4, batch->row_count, 4);
    store_number_put(at + 8, batch->control_count, 4);
    store_number_put(at + 16, batch->first_ticket, 8);
    store_number_put(at + 24, batch->ticket, 8);
    at += STORE_RECORD_HEADER_BYTES;
    if (rows_size)
        memcpy(at, batch->rows, rows_size);
    if (batch->control_size)
        memcpy(at + rows_size, batch->controls, batch->control_size);
}

int store_record_read(const MDB_val *value, StoreRecord *record, uint32_t *found_format)
{
    const uint8_t *at = value->mv_data;
    size_t rows_size;

    if (value->mv_size < STORE_RECORD_HEADER_BYTES)
        return STORE_ERROR_DAMAGED;
    *found_format = (uint32_t)store_number_get(at, 2);
    if (*found_format != STORE_FORMAT && *found_format != STORE_FORMAT_DATABASE)
        return STORE_ERROR_FORMAT;
    record->row_count = (uint32_t)store_number_get(at + 4, 4);
    record->control_count = (uint32_t)store_number_get(at + 8, 4);
    record->first_ticket = store_number_get(at + 16, 8);
    record->ticket = store_number_get(at + 24, 8);
    rows_size = (size_t)record->row_count * STORE_ROW_BYTES;
    if (value->mv_size - STORE_RECORD_HEADER_BYTES < rows_size)
        return STORE_ERROR_DAMAGED;
    record->rows = at + STORE_RECORD_HEADER_BYTES;
    record->controls = record->rows + rows_size;
    record->control_size = value->mv_size - STORE_RECORD_HEADER_BYTES - rows_size;
    return STORE_OK;
}

/* Step to the next control. 1: got one, 0: the end, or STORE_ERROR_DAMAGED. */
int store_control_next(const uint8_t **at, const uint8_t *end, StoreControl *control)
{
    size_t left = (size_t)(end - *at), key_size, value_size;

    if (left == 0)
        return 0;
    if (left < STORE_CONTROL_HEADER_BYTES)
        return STORE_ERROR_DAMAGED;
    key_size = store_number_get(*at, 4);
    value_size = store_number_get(*at + 4, 4);
    control->deleted = value_size == STORE_CONTROL_DELETED;
    if (control->deleted)
        value_size = 0;
    left -= STORE_CONTROL_HEADER_BYTES;
    if (key_size > left || value_size > left - key_size)
        return STORE_ERROR_DAMAGED;
    control->key.mv_size = key_size;
    control->key.mv_data = (void *)(*at + STORE_CONTROL_HEADER_BYTES);
    control->value.mv_size = value_size;
    control->value.mv_data = (void *)(*at + STORE_CONTROL_HEADER_BYTES + key_size);
    *at += STORE_CONTROL_HEADER_BYTES + key_size + value_size;
    return 1;
}
