/* SPDX-License-Identifier: Apache-2.0 */
/* Group commit: stamps, failures, recovery; with a disk that does what the test says. */
#include "support/vec.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "commit.h"

struct disk {
    atomic_uint staged; /* changes so far */
    atomic_uint durable;
    atomic_uint syncs, recoveries, told, tidied;
    atomic_bool broken;
    atomic_uint slow_ms;
    atomic_uint untidy; /* how often there is more to do */
};

static void nap(unsigned ms)
{
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL);
}

static simplex_rc write_all(struct disk *d)
{
    unsigned staged = atomic_load(&d->staged);

    nap(atomic_load(&d->slow_ms));
    if (atomic_load(&d->broken))
        return SIMPLEX_E_DB_IO;
    atomic_store(&d->durable, staged);
    return SIMPLEX_OK;
}

static simplex_rc disk_sync(void *user)
{
    struct disk *d = user;

    atomic_fetch_add(&d->syncs, 1);
    return write_all(d);
}

static simplex_rc disk_recover(void *user)
{
    struct disk *d = user;

    atomic_fetch_add(&d->recoveries, 1);
    return write_all(d);
}

static bool disk_tidy(void *user)
{
    struct disk *d = user;

    atomic_fetch_add(&d->tidied, 1);
    if (atomic_load(&d->untidy) == 0)
        return false;
    atomic_fetch_sub(&d->untidy, 1);
    return true;
}

static void disk_done(void *user)
{
    struct disk *d = user;

    atomic_fetch_add(&d->told, 1);
}

static struct sx_commit *open_commit(struct disk *d, int64_t idle_ms)
{
    struct sx_commit_cfg cfg = { .sync = disk_sync,
                                 .recover = disk_recover,
                                 .tidy = disk_tidy,
                                 .done = disk_done,
                                 .user = d,
                                 .idle_ms = idle_ms,
                                 .retry_ms = 20 };
    struct sx_commit *c;

    assert_int_equal(sx_commit_open(&cfg, &c), SIMPLEX_OK);
    return c;
}

/* The state the stamp ends in; waits for it. */
static enum sx_commit_state settle(struct sx_commit *c, uint64_t stamp)
{
    for (unsigned i = 0; i < 10000; i++) {
        enum sx_commit_state s = sx_commit_state(c, stamp);
        if (s != SX_COMMIT_WAIT)
            return s;
        nap(1);
    }
    return SX_COMMIT_WAIT;
}

/* Until the disk has counted so many. */
static void wait_for(const atomic_uint *counted, unsigned n)
{
    for (unsigned i = 0; i < 10000 && atomic_load(counted) < n; i++)
        nap(1);
    assert_true(atomic_load(counted) >= n);
}

static void what_was_staged_before_the_stamp_is_durable_with_it(void **state)
{
    struct disk d = { .staged = 0 };
    struct sx_commit *c = open_commit(&d, 60000);

    (void)state;
    for (unsigned i = 1; i <= 200; i++) {
        atomic_fetch_add(&d.staged, 1);
        uint64_t stamp = sx_commit_stamp(c);
        sx_commit_request(c);
        assert_int_equal(settle(c, stamp), SX_COMMIT_DURABLE);
        assert_true(atomic_load(&d.durable) >= i);
    }
    assert_int_equal(sx_commit_close(c), SIMPLEX_OK);
}

static void nothing_is_committed_that_nobody_asked_for(void **state)
{
    struct disk d = { .staged = 0 };
    struct sx_commit *c = open_commit(&d, 600000);

    (void)state;
    atomic_fetch_add(&d.staged, 1);
    uint64_t stamp = sx_commit_stamp(c);
    nap(50);
    assert_int_equal(sx_commit_state(c, stamp), SX_COMMIT_WAIT);
    assert_int_equal(atomic_load(&d.syncs), 0);
    assert_int_equal(sx_commit_close(c), SIMPLEX_OK);
}

static void what_nobody_asked_for_is_committed_when_the_interval_is_over(void **state)
{
    struct disk d = { .staged = 0 };
    struct sx_commit *c = open_commit(&d, 20);

    (void)state;
    atomic_fetch_add(&d.staged, 1);
    uint64_t stamp = sx_commit_stamp(c);
    assert_int_equal(settle(c, stamp), SX_COMMIT_DURABLE);
    assert_int_equal(sx_commit_close(c), SIMPLEX_OK);
}

#define WORKERS 4
#define CHANGES 500

struct worker {
    pthread_t thread;
    struct sx_commit *c;
    struct disk *d;
    bool ok;
};

static void *work(void *arg)
{
    struct worker *w = arg;

    w->ok = true;
    for (unsigned i = 0; i < CHANGES; i++) {
        unsigned mine = atomic_fetch_add(&w->d->staged, 1) + 1;
        uint64_t stamp = sx_commit_stamp(w->c);
        sx_commit_request(w->c);
        w->ok &= settle(w->c, stamp) == SX_COMMIT_DURABLE && atomic_load(&w->d->durable) >= mine;
    }
    return NULL;
}

static void threads_share_syncs(void **state)
{
    struct disk d = { .slow_ms = 2 };
    struct sx_commit *c = open_commit(&d, 60000);
    struct worker w[WORKERS];

    (void)state;
    for (size_t i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){ .c = c, .d = &d };
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(w[i].thread, NULL), 0);
        assert_true(w[i].ok);
    }
    assert_true(atomic_load(&d.syncs) < WORKERS * CHANGES);
    assert_int_equal(sx_commit_close(c), SIMPLEX_OK);
}

static void a_failed_commit_is_told_and_recovers(void **state)
{
    struct disk d = { .broken = true };
    struct sx_commit *c = open_commit(&d, 60000);
    struct sx_commit_figures f;

    (void)state;
    atomic_fetch_add(&d.staged, 1);
    uint64_t lost = sx_commit_stamp(c);
    assert_true(sx_commit_works(c));
    sx_commit_request(c);
    assert_int_equal(settle(c, lost), SX_COMMIT_LOST);
    assert_false(sx_commit_works(c));
    assert_int_equal(atomic_load(&d.durable), 0);
    wait_for(&d.recoveries, 2); /* the first has failed */
    assert_int_equal(atomic_load(&d.syncs), 1);
    atomic_store(&d.broken, false); /* first: an attempt that begins between the two would fail */
    uint64_t later = sx_commit_stamp(c);
    sx_commit_request(c); /* or it may have recovered in between */
    assert_int_equal(settle(c, later), SX_COMMIT_DURABLE);
    assert_true(sx_commit_works(c));
    assert_int_equal(sx_commit_state(c, lost), SX_COMMIT_DURABLE); /* by now it is on disk */
    assert_int_equal(atomic_load(&d.durable), 1);
    sx_commit_figures(c, &f);
    assert_true(f.failures >= 2 && f.commits > f.failures);
    assert_int_equal(sx_commit_close(c), SIMPLEX_OK);
}

static void closing_commits_what_is_staged(void **state)
{
    struct disk d = { .staged = 0 };
    struct sx_commit *c = open_commit(&d, 60000);

    (void)state;
    atomic_fetch_add(&d.staged, 7);
    assert_int_equal(sx_commit_close(c), SIMPLEX_OK);
    assert_int_equal(atomic_load(&d.durable), 7);

    atomic_store(&d.broken, true);
    c = open_commit(&d, 60000);
    atomic_fetch_add(&d.staged, 1);
    assert_int_equal(sx_commit_close(c), SIMPLEX_E_DB_IO);
}

static void housekeeping_goes_on_while_there_is_more_to_do(void **state)
{
    struct disk d = { .untidy = 5 };
    struct sx_commit *c = open_commit(&d, 60000);

    (void)state;
    sx_commit_request(c);
    wait_for(&d.told, 6);
    wait_for(&d.tidied, 6);
    nap(20);
    assert_int_equal(atomic_load(&d.tidied), 6);
    assert_int_equal(sx_commit_close(c), SIMPLEX_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_staged_before_the_stamp_is_durable_with_it),
        cmocka_unit_test(nothing_is_committed_that_nobody_asked_for),
        cmocka_unit_test(what_nobody_asked_for_is_committed_when_the_interval_is_over),
        cmocka_unit_test(threads_share_syncs),
        cmocka_unit_test(a_failed_commit_is_told_and_recovers),
        cmocka_unit_test(closing_commits_what_is_staged),
        cmocka_unit_test(housekeeping_goes_on_while_there_is_more_to_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
