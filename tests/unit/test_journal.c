/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of messages: what lives after a restart, in which order, and what stays on disk. */
#include "journal_util.h"

#include <errno.h>
#include <sys/wait.h>

enum fate { ADDED, DELETED, FORGOTTEN, LET_GO };

/* Each message is added, and perhaps deleted or forgotten, with or without a flush, a sync or a
 * restart between. */
static void one_life(struct jt *t, enum fate fate, unsigned between, unsigned after)
{
    struct sx_msg *m = jt_add(t, 1, 100);
    uint8_t id[SX_ID_LEN];

    memcpy(id, m->id, SX_ID_LEN);
    if (between == 1)
        assert_int_equal(sx_journal_flush(t->j), SIMPLEX_OK);
    if (between == 2)
        jt_sync(t);
    if (between == 3) {
        sx_msg_unref(m);
        jt_reopen(t);
        assert_int_equal(t->count, 1);
        m = t->loaded[--t->count];
        assert_memory_equal(m->id, id, SX_ID_LEN);
    }
    if (fate == DELETED)
        jt_del(t, m);
    else if (fate == FORGOTTEN || fate == LET_GO)
        jt_forget(t, m);
    else
        sx_msg_unref(m);
    if (fate == LET_GO)
        jt_let_go(t);
    if (after == 1)
        assert_int_equal(sx_journal_flush(t->j), SIMPLEX_OK);
    if (after == 2)
        jt_sync(t);
    jt_reopen(t);
    /* Forgotten and let go before it was written: it never was. Otherwise the queue decides, which
     * may still be there. */
    size_t lives = fate == ADDED || fate == FORGOTTEN || (fate == LET_GO && between != 0);
    assert_int_equal(t->count, lives);
    if (lives) {
        assert_memory_equal(t->loaded[0]->id, id, SX_ID_LEN);
        jt_check(t->loaded[0]);
        jt_del(t, t->loaded[--t->count]);
    }
    jt_reopen(t);
    assert_int_equal(t->count, 0);
    jt_tidy(t);
    assert_int_equal(jt_segments(t), 1);
}

static void lives_when_it_was_added_and_not_deleted(void **state)
{
    struct jt *t = jt_new();

    (void)state;
    jt_open(t);
    for (enum fate fate = ADDED; fate <= LET_GO; fate++)
        for (unsigned between = 0; between < 4; between++)
            for (unsigned after = 0; after < 3; after++)
                one_life(t, fate, between, after);
    assert_int_equal(t->warnings, 0);
    jt_free(t);
}

static void keeps_flags_lengths_and_times(void **state)
{
    static const size_t lengths[] = { 0, 1, 7, 8, 9, 16047, 16048, SX_BODY_MAX };
    struct sx_msg *m[2 * SX_COUNT(lengths)];
    struct jt *t = jt_new();

    (void)state;
    jt_open(t);
    for (size_t i = 0; i < SX_COUNT(m); i++) {
        m[i] = jt_msg(lengths[i / 2]);
        m[i]->notify = i % 2 == 0;
        m[i]->quota = i % 2 == 1;
        assert_true(jt_try_add(t, (uint8_t)(200 + i), m[i]));
    }
    jt_reopen(t);
    jt_expect(t, m, SX_COUNT(m));
    for (size_t i = 0; i < SX_COUNT(m); i++) {
        assert_int_equal(t->loaded[i]->notify, i % 2 == 0);
        assert_int_equal(t->loaded[i]->quota, i % 2 == 1);
        assert_int_equal(t->loaded[i]->journal.rid[0], 200 + i);
        assert_true(m[i]->journal.seq == t->loaded[i]->journal.seq);
        sx_msg_unref(m[i]);
    }
    struct sx_msg *longer = jt_msg(SX_BODY_MAX + 1);
    assert_false(jt_try_add(t, 1, longer));
    assert_false(sx_journal_room(t->j, SX_BODY_MAX + 1));
    assert_true(sx_journal_room(t->j, SX_BODY_MAX));
    sx_msg_unref(longer);
    jt_free(t);
}

static void loads_in_the_order_of_sending_over_many_segments(void **state)
{
    enum { N = 600 };
    static struct sx_msg *m[N];
    static struct sx_msg *left[N];
    struct jt *t = jt_new();
    size_t n = 0;

    (void)state;
    jt_open(t);
    for (size_t i = 0; i < N; i++) {
        m[i] = jt_add(t, (uint8_t)(i * 7), i * 37 % 5000);
        if (i % 10 == 9)
            jt_sync(t);
    }
    assert_true(jt_segments(t) > 10);
    for (size_t i = 0; i < N; i++) {
        if (i % 3 == 0)
            left[n++] = m[i];
        else
            jt_del(t, m[i]);
    }
    jt_reopen(t);
    jt_expect(t, left, n);
    /* What is added now comes after what was there. */
    struct sx_msg *last = jt_add(t, 1, 10);
    assert_true(last->journal.seq > m[N - 3]->journal.seq);
    for (size_t i = 0; i < n; i++)
        sx_msg_unref(left[i]);
    sx_msg_unref(last);
    jt_free(t);
}

static void forgets_what_no_queue_wants(void **state)
{
    struct jt *t = jt_new();
    uint8_t rid[SX_ID_LEN];
    uint64_t total, live;

    (void)state;
    jt_open(t);
    for (unsigned i = 0; i < 20; i++)
        sx_msg_unref(jt_add(t, (uint8_t)(i % 2), 5000));
    t->refused = jt_rid(1, rid);
    jt_reopen(t);
    assert_int_equal(t->count, 10);
    sx_journal_size(t->j, &total, &live);
    assert_int_equal(live, 10 * sx_record_size(5000));
    t->refused = jt_rid(0, rid);
    while (t->count > 0)
        jt_forget(t, t->loaded[--t->count]);
    jt_let_go(t);
    assert_int_equal(sx_journal_flush(t->j), SIMPLEX_OK);
    jt_tidy(t);
    sx_journal_size(t->j, &total, &live);
    assert_int_equal(live, 0);
    assert_int_equal(jt_segments(t), 1);
    jt_reopen(t);
    assert_int_equal(t->count, 0); /* the files went */
    jt_free(t);
}

/* One message of a hundred stays: the journal does not grow with what went. */
static void copies_what_lives_long_and_keeps_its_order(void **state)
{
    enum { N = 6000, KEPT = N / 100 };
    static struct sx_msg *kept[KEPT + 1];
    struct jt *t = jt_new();
    uint64_t total, live;
    size_t n = 0;

    (void)state;
    jt_open(t);
    for (unsigned i = 0; i < N; i++) {
        struct sx_msg *m = jt_add(t, (uint8_t)i, 500);
        if (i % 100 == 0)
            kept[n++] = m;
        else
            jt_del(t, m);
        if (i % 50 == 49) {
            jt_sync(t);
            jt_tidy(t);
        }
    }
    jt_sync(t);
    jt_tidy(t);
    sx_journal_size(t->j, &total, &live);
    assert_int_equal(live, KEPT * sx_record_size(500));
    assert_true(total <= 5 * SX_SEGMENT_MIN);
    assert_true(jt_segments(t) <= 6);
    struct jt *copy = jt_snapshot(t);
    jt_open(copy);
    jt_expect(copy, kept, n);
    jt_free(copy);
    jt_reopen(t);
    jt_expect(t, kept, n);
    while (n > 0)
        sx_msg_unref(kept[--n]);
    jt_free(t);
}

/* Old messages move on together: neither each start nor each of them leaves a file behind. */
static void stays_small_through_many_restarts(void **state)
{
    struct jt *t = jt_new();
    struct sx_msg *kept[12];

    (void)state;
    jt_open(t);
    for (unsigned i = 0; i < 50; i++) {
        if (i < SX_COUNT(kept))
            kept[i] = jt_add(t, 1, 3000);
        jt_reopen(t);
        jt_expect(t, kept, i < SX_COUNT(kept) ? i + 1 : SX_COUNT(kept));
        jt_tidy(t);
        assert_true(jt_segments(t) <= 9);
    }
    for (size_t i = 0; i < SX_COUNT(kept); i++)
        sx_msg_unref(kept[i]);
    jt_free(t);
}

static void refuses_a_second_process(void **state)
{
    struct jt *t = jt_new();
    int status;

    (void)state;
    jt_open(t);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        simplex_rc rc = jt_try(t);
        _exit(rc == SIMPLEX_E_DB_LOCKED && strstr(t->err, "another process") != NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    /* One process twice is no better. */
    struct sx_journal *j = t->j;
    assert_int_equal(jt_try(t), SIMPLEX_E_DB_LOCKED);
    assert_null(t->j);
    t->j = j;
    jt_free(t);
}

static void says_why_it_cannot_open(void **state)
{
    struct jt *t = jt_new();
    char path[200];

    (void)state;
    snprintf(path, sizeof path, "%s/missing/journal", t->dir);
    t->cfg.dir = path;
    assert_int_equal(jt_try(t), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(t->err, path));
    assert_non_null(strstr(t->err, "No such file"));
    t->cfg.dir = t->dir;
    t->cfg.segment_size = SX_SEGMENT_MIN - 1;
    assert_int_equal(jt_try(t), SIMPLEX_E_ARG);
    t->cfg.segment_size = SX_SEGMENT_MIN;
    jt_free(t);
}

static void makes_its_folder_for_itself_alone(void **state)
{
    struct jt *t = jt_new();
    char path[200];
    struct stat st;

    (void)state;
    snprintf(path, sizeof path, "%s/j", t->dir);
    t->cfg.dir = path;
    jt_open(t);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    jt_close(t);
    jt_each_file(path, jt_remove_one, NULL);
    assert_int_equal(rmdir(path), 0);
    jt_free(t);
}

static simplex_rc work(struct jt *t, bool *refused)
{
    struct sx_msg *m[40];
    simplex_rc rc = SIMPLEX_OK;

    for (size_t i = 0; i < SX_COUNT(m); i++) {
        m[i] = jt_msg(4000);
        if (!jt_try_add(t, 1, m[i]))
            *refused = true;
        else if (i % 2 == 0 && !jt_try_del(t, m[i]))
            *refused = true;
        if (i % 8 == 7 && rc == SIMPLEX_OK)
            rc = sx_journal_sync(t->j);
        (void)sx_journal_tidy(t->j);
    }
    for (size_t i = 0; i < SX_COUNT(m); i++)
        sx_msg_unref(m[i]);
    return rc;
}

/* An allocation that fails refuses one operation or the start, and nothing else. */
static void survives_each_failed_allocation(void **state)
{
    size_t before;
    bool fired = true;

    (void)state;
    for (unsigned nth = 0; fired; nth++) {
        struct jt *t = jt_new();
        jt_open(t);
        for (unsigned i = 0; i < 5; i++)
            sx_msg_unref(jt_add(t, 1, 3000));
        jt_close(t);
        before = sx_fault_live_blocks();
        sx_fault_malloc(nth);
        simplex_rc rc = jt_try(t);
        bool at_start = sx_fault_disarm();
        assert_true(rc == SIMPLEX_OK || (at_start && rc == SIMPLEX_E_NOMEM));
        if (rc != SIMPLEX_OK) {
            assert_non_null(strstr(t->err, "memory"));
            assert_int_equal(t->count, 0);
            assert_int_equal(sx_fault_live_blocks(), before);
            jt_open(t);
        }
        assert_int_equal(t->count, 5);
        fired = at_start;
        jt_free(t);
    }
    fired = true;
    for (unsigned nth = 0; fired; nth++) {
        struct jt *t = jt_new();
        bool refused = false;
        jt_open(t);
        before = sx_fault_live_blocks();
        /* The messages of the test come from the same heap: those may not fail. */
        struct sx_msg *m = jt_msg(4000), *n = jt_msg(4000);
        assert_true(jt_try_add(t, 1, m));
        sx_fault_malloc(nth);
        bool added = jt_try_add(t, 1, n), deleted = jt_try_del(t, m);
        simplex_rc rc = sx_journal_sync(t->j);
        (void)sx_journal_tidy(t->j);
        fired = sx_fault_disarm();
        assert_int_equal(rc, SIMPLEX_OK);
        assert_true(fired || (added && deleted));
        assert_int_equal(work(t, &refused), SIMPLEX_OK);
        assert_false(refused);
        sx_msg_unref(m);
        sx_msg_unref(n);
        jt_reopen(t);
        assert_int_equal(t->count, 20 + !deleted + added);
        jt_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives_when_it_was_added_and_not_deleted),
        cmocka_unit_test(keeps_flags_lengths_and_times),
        cmocka_unit_test(loads_in_the_order_of_sending_over_many_segments),
        cmocka_unit_test(forgets_what_no_queue_wants),
        cmocka_unit_test(copies_what_lives_long_and_keeps_its_order),
        cmocka_unit_test(stays_small_through_many_restarts),
        cmocka_unit_test(refuses_a_second_process),
        cmocka_unit_test(says_why_it_cannot_open),
        cmocka_unit_test(makes_its_folder_for_itself_alone),
        cmocka_unit_test(survives_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
