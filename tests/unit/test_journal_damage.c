/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the journal after a crash, and after something worse. */
#include "journal_util.h"

#define LEN 100
#define RECORD (sx_record_size(LEN))

/* Opens a folder with segments of these bytes alone, numbered from 1 on. */
static struct jt *with_files(const uint8_t *const *file, const size_t *len, size_t n)
{
    struct jt *t = jt_new();
    char path[160];

    for (uint32_t i = 0; i < n; i++) {
        jt_segment_path(t, i + 1, path);
        jt_write(path, file[i], len[i]);
    }
    return t;
}

static struct jt *with_file(const uint8_t *file, size_t len)
{
    return with_files(&file, &len, 1);
}

/* The first segment after n messages, the first `synced` of them synced one by one. */
static uint8_t *make_file(struct sx_msg **m, size_t n, size_t synced, size_t *len)
{
    struct jt *t = jt_new();
    char path[160];

    jt_open(t);
    for (size_t i = 0; i < n; i++) {
        m[i] = jt_add(t, 1, LEN);
        if (i < synced)
            jt_sync(t);
        else
            assert_int_equal(sx_journal_flush(t->j), SIMPLEX_OK);
    }
    jt_segment_path(t, 1, path);
    uint8_t *file = jt_read(path, len);
    jt_free(t);
    return file;
}

static void unref_all(struct sx_msg **m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sx_msg_unref(m[i]);
}

/* Cut off, or never written while the file was longer already. */
static void repairs_an_end_torn_at_any_byte(void **state)
{
    struct sx_msg *m[4];
    size_t len;
    uint8_t *file = make_file(m, 4, 3, &len);
    size_t last = SX_SEGMENT_HEADER + 3 * RECORD, end = last + RECORD;

    (void)state;
    assert_int_equal(len, SX_SEGMENT_MIN);
    for (size_t cut = last; cut < end; cut++) {
        struct jt *t = with_file(file, cut);
        jt_open(t);
        jt_expect(t, m, 3);
        assert_int_equal(t->warnings, cut > last);
        /* It is repaired: nothing is said the next time. */
        t->warnings = 0;
        struct sx_msg *more = jt_add(t, 1, LEN);
        jt_reopen(t);
        assert_int_equal(t->count, 4);
        assert_memory_equal(t->loaded[3]->id, more->id, SX_ID_LEN);
        assert_int_equal(t->warnings, 0);
        sx_msg_unref(more);
        jt_free(t);
        uint8_t *zeros = calloc(1, len);
        memcpy(zeros, file, cut);
        t = with_file(zeros, len);
        jt_open(t);
        bool whole = memcmp(zeros, file, len) == 0;
        jt_expect(t, m, whole ? 4 : 3);
        assert_int_equal(t->warnings, !whole && cut > last);
        jt_free(t);
        free(zeros);
    }
    free(file);
    unref_all(m, 4);
}

static void leaves_out_what_follows_a_hole_that_was_never_synced(void **state)
{
    struct sx_msg *m[8];
    size_t len;
    uint8_t *file = make_file(m, 8, 3, &len);

    (void)state;
    for (size_t hole = 3; hole < 8; hole++) {
        uint8_t *copy = malloc(len);
        memcpy(copy, file, len);
        memset(copy + SX_SEGMENT_HEADER + hole * RECORD + 8, 0, 40);
        struct jt *t = with_file(copy, len);
        jt_open(t);
        jt_expect(t, m, hole);
        assert_int_equal(t->warnings, 1);
        assert_non_null(strstr(t->warned, "0000000001.seg"));
        jt_free(t);
        free(copy);
    }
    free(file);
    unref_all(m, 8);
}

static bool is_padding(size_t at)
{
    return at >= SX_SEGMENT_HEADER && (at - SX_SEGMENT_HEADER) % RECORD >= SX_RECORD_HEADER + LEN;
}

/* One changed byte in what is known to have been durable. */
static void refuse_and_skip(const uint8_t *const *file, const size_t *len, size_t n, size_t at,
                            struct sx_msg **m, size_t count)
{
    const uint8_t *changed[4];
    uint8_t *copy = malloc(len[0]);
    size_t record = (at - SX_SEGMENT_HEADER) / RECORD;
    char offset[40];

    memcpy(copy, file[0], len[0]);
    copy[at] ^= 0x10;
    memcpy(changed, file, n * sizeof(file[0]));
    changed[0] = copy;
    struct jt *t = with_files(changed, len, n);
    snprintf(offset, sizeof offset, "offset %d ",
             at < SX_SEGMENT_HEADER ? 0 : (int)(SX_SEGMENT_HEADER + record * RECORD));
    simplex_rc rc = jt_try(t);
    if (rc != SIMPLEX_E_DB_DAMAGED)
        print_message("byte %zu: %d %s\n", at, (int)rc, t->err);
    assert_int_equal(rc, SIMPLEX_E_DB_DAMAGED);
    assert_non_null(strstr(t->err, "0000000001.seg"));
    assert_non_null(strstr(t->err, offset));
    assert_non_null(strstr(t->err, "backup"));
    assert_int_equal(t->count, 0);
    t->cfg.skip_damage = true;
    jt_open(t);
    assert_true(t->warnings >= 1);
    if (at >= SX_SEGMENT_HEADER) { /* all but this one */
        struct sx_msg *left[16];
        for (size_t i = 0, k = 0; i < count; i++)
            if (i != record)
                left[k++] = m[i];
        jt_expect(t, left, count - 1);
    }
    /* What is left is copied away from the damaged file: the next start is like any other. */
    size_t loaded = t->count;
    jt_tidy(t);
    t->cfg.skip_damage = false;
    t->warnings = 0;
    jt_reopen(t);
    assert_int_equal(t->count, loaded);
    assert_int_equal(t->warnings, 0);
    jt_free(t);
    free(copy);
}

static void refuses_any_changed_byte_before_what_was_synced(void **state)
{
    struct sx_msg *m[5];
    size_t len;
    uint8_t *file = make_file(m, 5, 4, &len);

    (void)state;
    /* The record of the fifth message says that the first four were durable. */
    for (size_t at = 0; at < SX_SEGMENT_HEADER + 4 * RECORD; at++)
        if (!is_padding(at))
            refuse_and_skip((const uint8_t *const *)&file, &len, 1, at, m, 5);
    free(file);
    unref_all(m, 5);
}

/* Two files: four messages and their end, and a fifth message. */
static void make_two_files(struct sx_msg **m, uint8_t *file[2], size_t len[2])
{
    struct jt *t = jt_new();
    char path[160];

    jt_open(t);
    for (size_t i = 0; i < 4; i++)
        m[i] = jt_add(t, 1, LEN);
    jt_reopen(t);
    m[4] = jt_add(t, 1, LEN);
    jt_sync(t);
    for (uint32_t i = 0; i < 2; i++) {
        jt_segment_path(t, i + 1, path);
        file[i] = jt_read(path, &len[i]);
    }
    jt_free(t);
}

static void refuses_damage_in_a_file_that_is_not_the_last(void **state)
{
    struct sx_msg *m[5];
    uint8_t *file[2];
    size_t len[2];

    (void)state;
    make_two_files(m, file, len);
    for (size_t at = SX_SEGMENT_HEADER; at < SX_SEGMENT_HEADER + 4 * RECORD; at += 3)
        if (!is_padding(at))
            refuse_and_skip((const uint8_t *const *)file, len, 2, at, m, 5);
    /* Its end as well: what is missing there was durable. */
    len[0] = SX_SEGMENT_HEADER + 3 * RECORD + 8;
    struct jt *t = with_files((const uint8_t *const *)file, len, 2);
    assert_int_equal(jt_try(t), SIMPLEX_E_DB_DAMAGED);
    assert_non_null(strstr(t->err, "shorter"));
    jt_free(t);
    free(file[0]);
    free(file[1]);
    unref_all(m, 5);
}

static void refuses_a_missing_file_and_one_that_ends_too_early(void **state)
{
    struct sx_msg *m[5];
    uint8_t *file[2];
    size_t len[2];
    char path[160], to[160];

    (void)state;
    make_two_files(m, file, len);
    struct jt *t = with_files((const uint8_t *const *)file, len, 2);
    jt_open(t);
    jt_close(t);
    jt_segment_path(t, 2, path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(jt_try(t), SIMPLEX_E_DB_DAMAGED);
    assert_non_null(strstr(t->err, "missing"));
    t->cfg.skip_damage = true;
    jt_open(t);
    jt_expect(t, m, 4);
    jt_free(t);
    /* The last file lost its end: its last record was not the last. */
    t = with_file(file[0], SX_SEGMENT_HEADER + 4 * RECORD);
    jt_open(t);
    jt_expect(t, m, 4); /* only the mark went */
    jt_free(t);
    uint8_t *short_one = malloc(len[1]);
    memcpy(short_one, file[1], len[1]);
    struct sx_segment_header h;
    assert_int_equal(sx_segment_decode(short_one, &h), SIMPLEX_OK);
    h.synced = (uint32_t)(SX_SEGMENT_HEADER + RECORD);
    sx_segment_encode(&h, short_one);
    const uint8_t *two[2] = { file[0], short_one };
    len[1] = SX_SEGMENT_HEADER;
    t = with_files(two, len, 2);
    assert_int_equal(jt_try(t), SIMPLEX_E_DB_DAMAGED);
    assert_non_null(strstr(t->err, "missing"));
    /* A file under a number that is not its own. */
    jt_segment_path(t, 2, path);
    jt_segment_path(t, 3, to);
    assert_int_equal(rename(path, to), 0);
    assert_int_equal(jt_try(t), SIMPLEX_E_DB_DAMAGED);
    jt_free(t);
    free(short_one);
    free(file[0]);
    free(file[1]);
    unref_all(m, 5);
}

static void leaves_files_of_a_newer_server_alone(void **state)
{
    struct sx_msg *m[1];
    size_t len;
    uint8_t *file = make_file(m, 1, 1, &len);
    uint64_t sum;

    (void)state;
    file[11]++; /* the version; then the checksum over it */
    sum = sx_shorthash(file + 40, sx_bytes(file, 56));
    for (size_t i = 0; i < 8; i++)
        file[56 + i] = (uint8_t)(sum >> (56 - 8 * i));
    struct jt *t = with_file(file, len);
    t->cfg.skip_damage = true; /* also then */
    assert_int_equal(jt_try(t), SIMPLEX_E_DB_SCHEMA);
    assert_non_null(strstr(t->err, "newer"));
    jt_free(t);
    free(file);
    unref_all(m, 1);
}

/* A record with a good checksum and impossible fields. */
static void checks_every_field_of_a_record(void **state)
{
    static const struct {
        struct sx_record r;
        bool good;
    } rows[] = {
        { { .type = SX_RECORD_ADD }, true },
        { { .type = SX_RECORD_ADD, .len = SX_BODY_MAX }, true },
        { { .type = SX_RECORD_ADD, .len = SX_BODY_MAX + 1 }, false },
        { { .type = SX_RECORD_ADD, .len = UINT16_MAX }, false },
        { { .type = SX_RECORD_DEL }, true },
        { { .type = SX_RECORD_DEL, .len = 1 }, false },
        { { .type = SX_RECORD_MARK }, true },
        { { .type = SX_RECORD_MARK, .len = 8 }, false },
        { { .type = 0 }, false },
        { { .type = SX_RECORD_MARK + 1 }, false },
        { { .type = SX_RECORD_ADD, .synced = 64 }, true },
        { { .type = SX_RECORD_ADD, .synced = 65 }, false },
        { { .type = SX_RECORD_ADD, .seq = (UINT64_C(1) << 62) - 1 }, true },
        { { .type = SX_RECORD_ADD, .seq = UINT64_C(1) << 62 }, false },
        { { .type = SX_RECORD_ADD, .seq = UINT64_MAX }, false },
    };
    uint8_t salt[SX_SALT_LEN] = { 1 }, other[SX_SALT_LEN] = { 2 }, b[SX_RECORD_HEADER];
    struct sx_record r;

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        sx_record_encode(&rows[i].r, salt, 64, b);
        assert_int_equal(sx_record_decode(b, salt, 64, &r), rows[i].good);
        assert_false(sx_record_decode(b, salt, 72, &r));
        assert_false(sx_record_decode(b, other, 64, &r));
    }
}

/* A sender who knows everything but the salt makes a body that holds a record, at its place. */
static void takes_no_body_for_a_record(void **state)
{
    struct jt *t = jt_new();
    char path[160];
    size_t len;
    struct sx_msg *evil = jt_msg(8 * SX_RECORD_HEADER);
    uint8_t salt[SX_SALT_LEN] = { 0 };
    struct sx_record r = { .type = SX_RECORD_ADD, .seq = 7 };

    (void)state;
    r.hash = sx_record_hash(r.id, sx_bytes(NULL, 0));
    for (uint32_t i = 0; i < 8; i++)
        sx_record_encode(&r, salt, SX_SEGMENT_HEADER + (i + 1) * SX_RECORD_HEADER,
                         evil->body + i * SX_RECORD_HEADER);
    jt_open(t);
    assert_true(jt_try_add(t, 1, evil));
    struct sx_msg *good = jt_add(t, 1, LEN);
    jt_close(t);
    jt_segment_path(t, 1, path);
    uint8_t *file = jt_read(path, &len);
    file[SX_SEGMENT_HEADER + 20] ^=
        1; /* its own header is damaged: the next record is looked for */
    jt_write(path, file, len);
    t->cfg.skip_damage = true;
    jt_open(t);
    jt_expect(t, &good, 1);
    free(file);
    sx_msg_unref(evil);
    sx_msg_unref(good);
    jt_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repairs_an_end_torn_at_any_byte),
        cmocka_unit_test(leaves_out_what_follows_a_hole_that_was_never_synced),
        cmocka_unit_test(refuses_any_changed_byte_before_what_was_synced),
        cmocka_unit_test(refuses_damage_in_a_file_that_is_not_the_last),
        cmocka_unit_test(refuses_a_missing_file_and_one_that_ends_too_early),
        cmocka_unit_test(leaves_files_of_a_newer_server_alone),
        cmocka_unit_test(checks_every_field_of_a_record),
        cmocka_unit_test(takes_no_body_for_a_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
