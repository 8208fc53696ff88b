/* SPDX-License-Identifier: Apache-2.0 */
/* The journal with several threads, and after kill -9. */
#include "journal_util.h"

#include <errno.h>
#include <signal.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* ---- threads ---- */

enum { WRITERS = 3, ROUNDS = 3000, KEPT = 40, COMMITS = 25 };

struct writer {
    pthread_t thread;
    struct jt *t;
    unsigned first; /* its stripes: first, first + WRITERS, ... */
    struct sx_msg *kept[KEPT];
    unsigned refused, failed;
};

static atomic_bool done;
static atomic_int fail_sync;
static atomic_uint commits, failures;

static int sync_or_fail(int fd)
{
    int left = atomic_load(&fail_sync);

    (void)fd; /* what is written is tested elsewhere */
    while (left > 0)
        if (atomic_compare_exchange_weak(&fail_sync, &left, left - 1)) {
            atomic_fetch_add(&failures, 1);
            errno = EIO;
            return -1;
        }
    return 0;
}

/* A loop thread: queues of its own, each with its stripe; a flush a turn. */
static void *writer_main(void *arg)
{
    struct writer *w = arg;

    /* However slow the disk: some commits, and failures, are to happen meanwhile. */
    for (unsigned i = 0;
         i < ROUNDS || atomic_load(&commits) < COMMITS || atomic_load(&failures) == 0; i++) {
        unsigned slot = i % KEPT;
        uint8_t queue = (uint8_t)(w->first + WRITERS * (i % 20));
        struct sx_msg *m = jt_msg(i * 13 % 3000);
        struct sx_msg *old = w->kept[slot];
        bool gone = true;
        if (old != NULL && i % 11 == 0)
            jt_forget(w->t, sx_msg_ref(old));
        else if (old != NULL)
            gone = jt_try_del(w->t, old);
        if (gone) {
            sx_msg_unref(old);
            w->kept[slot] = NULL;
        }
        if (w->kept[slot] == NULL && jt_try_add(w->t, queue, m)) {
            w->kept[slot] = m;
        } else {
            w->refused++;
            sx_msg_unref(m);
        }
        if (i % 4 == 3)
            w->failed += sx_journal_flush(w->t->j) != SIMPLEX_OK; /* the other thread's business */
    }
    return NULL;
}

/* The committing thread. */
static void *committer_main(void *arg)
{
    struct jt *t = arg;
    uint64_t total, live;

    for (unsigned i = 0; !atomic_load(&done); i++) {
        if (i % 5 == 4)
            atomic_store(&fail_sync, 1);
        jt_let_go(t);
        if (sx_journal_sync(t->j) != SIMPLEX_OK) {
            usleep(300); /* the others are refused meanwhile */
            while (sx_journal_recover(t->j) != SIMPLEX_OK)
                sched_yield();
        }
        for (unsigned k = 0; k < 5 && sx_journal_tidy(t->j); k++)
            ;
        sx_journal_size(t->j, &total, &live);
        atomic_fetch_add(&commits, 1);
        sched_yield();
    }
    return NULL;
}

static void serves_several_threads(void **state)
{
    static struct writer w[WRITERS];
    /* In memory where there is such a folder: it is about locks, the disk would slow it down. */
    struct jt *t = jt_new_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    pthread_t committer;
    uint64_t total, live, want = 0;
    size_t n = 0;

    (void)state;
    t->cfg.sync_fd = sync_or_fail;
    jt_open(t);
    assert_int_equal(pthread_create(&committer, NULL, committer_main, t), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        w[i].t = t;
        w[i].first = i;
        assert_int_equal(pthread_create(&w[i].thread, NULL, writer_main, &w[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(w[i].thread, NULL), 0);
    atomic_store(&done, true);
    assert_int_equal(pthread_join(committer, NULL), 0);
    atomic_store(&fail_sync, 0);
    jt_let_go(t); /* what was forgotten after the last commit began */
    assert_int_equal(sx_journal_recover(t->j), SIMPLEX_OK);
    jt_sync(t);
    jt_tidy(t);
    for (unsigned i = 0; i < WRITERS; i++) {
        for (unsigned k = 0; k < KEPT; k++) {
            if (w[i].kept[k] != NULL) {
                n++;
                want += sx_record_size(w[i].kept[k]->len);
                sx_msg_unref(w[i].kept[k]);
            }
        }
    }
    sx_journal_size(t->j, &total, &live);
    assert_int_equal(live, want);
    print_message("%zu messages, %u of %u bytes live; %u refused, %u flushes failed\n", n,
                  (unsigned)live, (unsigned)total, w[0].refused + w[1].refused + w[2].refused,
                  w[0].failed + w[1].failed + w[2].failed);
    assert_true(t->warnings > 0);
    assert_true(total <= 2 * live + SX_SEGMENT_MIN || total <= 4 * SX_SEGMENT_MIN);
    t->cfg.sync_fd = NULL;
    jt_reopen(t);
    assert_true(t->count >= n); /* and what was forgotten and is still in some file */
    for (size_t i = 0; i < t->count; i++)
        jt_check(t->loaded[i]);
    jt_free(t);
}

/* Without a sync for long: more segments are written to than there were spares. */
static void takes_more_between_two_syncs_than_a_segment_holds(void **state)
{
    enum { N = 200 };
    static struct sx_msg *m[N];
    struct jt *t = jt_new();

    (void)state;
    jt_open(t);
    for (size_t i = 0; i < N; i++)
        m[i] = jt_add(t, (uint8_t)i, 10000);
    assert_int_equal(sx_journal_flush(t->j), SIMPLEX_OK);
    assert_int_equal(jt_segments(t), 1); /* the others have no number yet */
    struct jt *copy = jt_snapshot(t);
    jt_open(copy);
    assert_true(copy->count < 10);
    jt_free(copy);
    jt_sync(t);
    assert_true(jt_segments(t) > N * 10000 / SX_SEGMENT_MIN);
    copy = jt_snapshot(t);
    jt_open(copy);
    jt_expect(copy, m, N);
    jt_free(copy);
    for (size_t i = 0; i < N; i++)
        jt_del(t, m[i]);
    jt_sync(t);
    jt_tidy(t);
    assert_int_equal(jt_segments(t), 1);
    jt_free(t);
}

/* ---- kill -9 ---- */

enum { KILLS = 50, IDS = 200000 };
enum fate { UNUSED, ADDING, ADDED, DELETING, DELETED };

/* Shared with the child: what it was told of each message, by the number in its id. */
static uint8_t *fates;

static uint32_t number_of(const struct sx_msg *m)
{
    uint32_t n;

    memcpy(&n, m->id, sizeof n);
    return n;
}

struct pending {
    uint32_t number;
    uint8_t fate;
};

/* The child: adds and deletes, and notes what is durable once sync has said so. */
static void write_until_killed(struct jt *t, uint32_t next)
{
    static struct sx_msg *queue[MAX_LOADED];
    struct pending pending[64];
    size_t head = 0, tail = 0;

    if (jt_try(t) != SIMPLEX_OK)
        _exit(2);
    for (size_t i = 0; i < t->count; i++)
        queue[tail++] = t->loaded[i];
    for (;;) {
        size_t n = 0;
        for (unsigned i = 0; i < 20 && next < IDS && tail < MAX_LOADED; i++, next++) {
            struct sx_msg *m = jt_msg(next % 700);
            memcpy(m->id, &next, sizeof next);
            jt_body(m, m->body);
            fates[next] = ADDING;
            if (!jt_try_add(t, (uint8_t)next, m))
                _exit(3);
            pending[n++] = (struct pending){ next, ADDED };
            queue[tail++] = m;
            if (i % 7 == 0 && sx_journal_flush(t->j) != SIMPLEX_OK)
                _exit(4);
        }
        for (unsigned i = 0; i < 18 && head < tail; i++) {
            struct sx_msg *m = queue[head++];
            fates[number_of(m)] = DELETING;
            if (!jt_try_del(t, m))
                _exit(5);
            pending[n++] = (struct pending){ number_of(m), DELETED };
        }
        if (sx_journal_sync(t->j) != SIMPLEX_OK)
            _exit(6);
        for (size_t i = 0; i < n; i++)
            if (pending[i].fate == DELETED || fates[pending[i].number] == ADDING)
                fates[pending[i].number] = pending[i].fate;
        (void)sx_journal_tidy(t->j);
    }
}

static void check_fates(struct jt *t)
{
    static bool there[IDS];

    memset(there, 0, sizeof there);
    for (size_t i = 0; i < t->count; i++) {
        uint32_t n = number_of(t->loaded[i]);
        assert_true(n < IDS && !there[n]);
        there[n] = true;
        jt_check(t->loaded[i]);
        assert_true(i == 0 || t->loaded[i - 1]->journal.seq < t->loaded[i]->journal.seq);
    }
    for (uint32_t n = 0; n < IDS; n++) {
        if (fates[n] == UNUSED || fates[n] == DELETED)
            assert_false(there[n]);
        if (fates[n] == ADDED)
            assert_true(there[n]);
        /* In between it is one or the other, and stays so from now on. */
        if (fates[n] == ADDING || fates[n] == DELETING)
            fates[n] = there[n] ? ADDED : DELETED;
    }
}

static uint32_t next_unused(void)
{
    uint32_t n = 0;

    while (n < IDS && fates[n] != UNUSED)
        n++;
    return n;
}

static void keeps_what_was_synced_through_kill_9(void **state)
{
    struct jt *t = jt_new();
    int status;

    (void)state;
    fates = mmap(NULL, IDS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(fates, MAP_FAILED);
    for (unsigned i = 0; i < KILLS && next_unused() + 5 < IDS; i++) { /* a disk may be fast */
        uint8_t wait_ms;
        uint32_t next = next_unused();
        sx_random(&wait_ms, 1);
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            write_until_killed(t, next);
        /* Every other one has written something, however late it got a processor. */
        for (unsigned k = 0; k < 10000 && i % 2 == 0 && fates[next + 5] == UNUSED; k++)
            usleep(1000);
        usleep(1000 + (useconds_t)wait_ms * 200);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFEXITED(status))
            fail_msg("the child ended with %d", WEXITSTATUS(status));
        jt_open(t);
        check_fates(t);
        jt_close(t);
    }
    print_message("%u messages, %zu segments\n", (unsigned)next_unused(), jt_segments(t));
    assert_true(next_unused() > 100);
    munmap(fates, IDS);
    jt_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_several_threads),
        cmocka_unit_test(takes_more_between_two_syncs_than_a_segment_holds),
        cmocka_unit_test(keeps_what_was_synced_through_kill_9),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
