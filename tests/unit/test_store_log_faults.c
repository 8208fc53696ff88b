/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the store log: full disks, failed writes and syncs, kills, threads. */
#include "slog_disk.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

/* ---- failures while it runs ---- */

static void takes_nothing_without_room(void **state)
{
    struct sx_slog *l = opened(&faulty);

    (void)state;
    fault.no_room = ENOSPC;
    assert_false(add(l, 1, 1));
    assert_false(sx_slog_failed(l));
    assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
    assert_file("");
    fault.no_room = 0;
    assert_true(add(l, 1, 1));
    fault.no_room = ENOSPC; /* there is room reserved for many more */
    for (int i = 0; i < 1000; i++)
        assert_true(add(l, 2, 2));
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
    no_fault();
    reopen();
    assert_int_equal(records, 1001);
    assert_file(T1 T2);
}

static void takes_a_line_back_where_room_cannot_be_reserved(void **state)
{
    struct sx_slog *l = opened(&faulty);

    (void)state;
    fault.no_room = EOPNOTSUPP;
    assert_true(add(l, 1, 1));
    assert_file(T1); /* written at once */
    fault.only = "pwrite";
    fault.at = fault.calls;
    fault.error = ENOSPC;
    assert_false(add(l, 2, 2));
    assert_false(sx_slog_failed(l));
    assert_file(T1); /* the half that arrived is gone */
    assert_true(add(l, 3, 3));
    assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
    assert_file(T1 T3);
    fault.only = NULL;
    fault.at = fault.calls;
    fault.times = 1; /* it cannot be cut off either */
    assert_false(add(l, 2, 2));
    assert_true(sx_slog_failed(l));
    assert_false(add(l, 2, 2));
    assert_int_equal(sx_slog_recover(l), SIMPLEX_OK);
    assert_file(T1 T3);
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
}

static void writes_again_what_failed(void **state)
{
    static const char *const calls[] = { "pwrite", "sync" };
    static const int errors[] = { ENOSPC, EDQUOT, EIO };

    for (size_t i = 0; i < SX_COUNT(calls) * SX_COUNT(errors); i++) {
        simplex_rc want = i % 3 == 2 ? SIMPLEX_E_DB_IO : SIMPLEX_E_DB_FULL;
        clean(state);
        struct sx_slog *l = opened(&faulty);
        assert_true(add(l, 1, 1));
        assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
        fault.only = calls[i / 3];
        fault.at = fault.calls = 0;
        fault.error = errors[i % 3];
        fault.times = 1;
        assert_true(add(l, 2, 2));
        assert_int_equal(sx_slog_sync(l), want);
        assert_true(sx_slog_failed(l));
        assert_false(add(l, 3, 3));
        assert_int_equal(sx_slog_flush(l), want);
        assert_int_equal(sx_slog_sync(l), want);
        assert_int_equal(sx_slog_recover(l), want); /* fails again */
        /* nobody knows what is behind the last good sync */
        assert_int_equal(truncate(path, (off_t)strlen(T1) + 3), 0);
        assert_int_equal(truncate(path, 4000), 0);
        assert_int_equal(sx_slog_recover(l), SIMPLEX_OK);
        assert_file(T1 T2);
        assert_false(sx_slog_failed(l));
        assert_true(add(l, 3, 3));
        assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
        assert_file(T1 T2 T3);
    }
}

static void waits_for_room_before_it_recovers(void **state)
{
    struct sx_slog *l = opened(&faulty);

    (void)state;
    assert_true(add(l, 1, 1));
    fault.only = "pwrite";
    fault.at = fault.calls = 0;
    fault.error = EIO;
    assert_int_equal(sx_slog_flush(l), SIMPLEX_E_DB_IO);
    fault.no_room = ENOSPC;
    assert_int_equal(sx_slog_recover(l), SIMPLEX_E_DB_FULL);
    assert_false(add(l, 2, 2));
    fault.no_room = 0;
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK); /* the last attempt */
    assert_file(T1);
}

static void tells_when_the_end_was_lost(void **state)
{
    struct sx_slog *l = opened(&faulty);

    (void)state;
    assert_true(add(l, 1, 1));
    fault.only = "sync";
    fault.at = fault.calls = 0;
    fault.times = 9;
    fault.error = EIO;
    assert_int_equal(sx_slog_close(l), SIMPLEX_E_DB_IO);
}

static void lives_with_a_limit_of_the_file_size(void **state)
{
    struct rlimit old, small;
    struct sx_slog *l = opened(NULL);
    unsigned taken = 0;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){ 10000, old.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 400; i++) {
        taken += add(l, 1, (uint32_t)taken + 1);
        (void)!sx_slog_flush(l);
    }
    simplex_rc rc = sx_slog_sync(l);
    bool more = add(l, 2, 2);
    simplex_rc again = sx_slog_recover(l);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    /* Not every file system reserves room beyond the limit: then what could not be written was not
     * taken either. */
    assert_true(rc == SIMPLEX_E_DB_FULL || rc == SIMPLEX_OK);
    assert_int_equal(again, rc);
    assert_false(more);
    assert_true(taken > 100 && taken < 400);
    assert_int_equal(sx_slog_recover(l), SIMPLEX_OK);
    assert_true(add(l, 2, 2));
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
    reopen();
    assert_int_equal(records, taken + 1);
    assert_int_equal(day_of[1], taken);
}

static void takes_nothing_without_memory(void **state)
{
    struct sx_slog *l = opened(NULL);

    (void)state;
    sx_fault_malloc(0);
    assert_false(add(l, 1, 1));
    assert_true(sx_fault_disarm());
    assert_true(add(l, 2, 2));
    for (int i = 0; i < 100; i++) { /* where the buffer grows */
        sx_fault_malloc(0);
        (void)!add(l, 2, 2);
        (void)sx_fault_disarm();
    }
    assert_true(add(l, 1, 1));
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
    reopen();
    assert_int_equal(day_of[1], 1);
    assert_int_equal(day_of[2], 2);
}

static void bounds_what_it_keeps(void **state)
{
    struct sx_slog *l = opened(NULL);
    static char line[1u << 20];
    unsigned taken = 0;

    (void)state;
    memset(line, 'x', sizeof(line));
    while (taken < 100 && sx_slog_append(l, sx_bytes(line, sizeof(line))))
        taken++;
    assert_int_equal(taken, 63); /* each with its LF */
    assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
    assert_true(sx_slog_append(l, sx_bytes(line, sizeof(line))));
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
}

/* ---- ends of a process and of the power ---- */

/* The process says which days are synced until it is killed. */
static void child(int to)
{
    struct sx_slog *l = opened(NULL);

    for (uint32_t day = day_of[1] + 1;; day++) {
        if (!add(l, 1, day) || !add(l, 2, day) || sx_slog_sync(l) != SIMPLEX_OK ||
            write(to, &day, sizeof(day)) != sizeof(day))
            _exit(1);
        (void)!add(l, 1, day + 1);
        (void)!sx_slog_flush(l);
    }
}

static void keeps_what_was_synced_when_killed(void **state)
{
    uint32_t synced = 0;

    (void)state;
    for (int round = 0; round < 10; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0)
            child(ends[1]);
        close(ends[1]);
        for (int n = 0; n < 5 + round; n++)
            assert_int_equal(read(ends[0], &synced, sizeof(synced)), sizeof(synced));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        while (read(ends[0], &synced, sizeof(synced)) == sizeof(synced)) {
        }
        close(ends[0]);
        reopen();
        assert_true(day_of[1] >= synced && day_of[1] <= synced + 2);
        assert_true(day_of[2] >= synced && day_of[2] <= synced + 1);
    }
}

static uint32_t rolled;

static uint32_t roll(uint32_t n)
{
    rolled = rolled * 1664525 + 1013904223;
    return (rolled >> 8) % n;
}

/* Sectors behind the last sync arrive or not, in any order, and the size may be any. */
static size_t lose_power(uint8_t *text, size_t n, size_t durable)
{
    for (size_t sector = (durable + 511) / 512 * 512; sector < n; sector += 512)
        if (roll(3) == 0)
            memset(text + sector, 0, n - sector < 512 ? n - sector : 512);
    return roll(4) == 0 ? n : durable + roll((uint32_t)(n - durable + 1));
}

static void keeps_what_was_synced_when_the_power_fails(void **state)
{
    static uint8_t text[1 << 20];

    rolled = (uint32_t)time(NULL);
    print_message("seed %u\n", rolled);
    for (int round = 0; round < 200; round++) {
        uint32_t day = 0;
        clean(state);
        struct sx_slog *l = opened(NULL);
        for (uint32_t n = roll(100); n > 0; n--)
            assert_true(add(l, 1, ++day));
        assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
        uint32_t synced = day;
        size_t durable = (size_t)l->durable;
        for (uint32_t n = roll(200); n > 0; n--)
            assert_true(add(l, 1, ++day));
        assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        size_t n = fread(text, 1, sizeof(text), f);
        fclose(f);
        write_file(NULL, text, lose_power(text, n, durable));
        reopen();
        assert_true(records >= synced && records <= day);
        assert_true(day_of[1] >= synced && day_of[1] <= day);
        reopen();
        assert_string_equal(warnings, "");
    }
}

/* ---- threads ---- */

#define APPENDERS 4
#define EACH 3000

static struct appender {
    struct sx_slog *l;
    uint8_t id;
    uint32_t taken; /* days 1..taken were taken, in this order */
} appenders[APPENDERS];
static atomic_uint working;

static void *append_lines(void *user)
{
    struct appender *a = user;

    for (unsigned i = 0; i < EACH; i++) {
        a->taken += add(a->l, a->id, a->taken + 1);
        if (i % 7 == 0)
            (void)!sx_slog_flush(a->l);
    }
    atomic_fetch_sub(&working, 1);
    return NULL;
}

static uint32_t next_day[256];

static simplex_rc in_order(void *user, const struct sx_slog_record *r, uint64_t line)
{
    (void)user;
    (void)line;
    assert_int_equal(r->day, ++next_day[r->rid[0]]);
    return SIMPLEX_OK;
}

static bool put_nothing(void *user, sx_slog_put *put, void *to)
{
    (void)user;
    (void)put;
    (void)to;
    return true;
}

static void assert_all_in_order(void)
{
    struct sx_errtext err = { problem, sizeof(problem) };
    struct sx_slog_cfg cfg = { .path = path, .record = in_order, .rewrite = put_nothing };
    struct sx_slog *l;

    memset(next_day, 0, sizeof(next_day));
    assert_int_equal(sx_slog_open(&cfg, &err, &l), SIMPLEX_OK);
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
    for (unsigned i = 0; i < APPENDERS; i++)
        assert_int_equal(next_day[appenders[i].id], appenders[i].taken);
}

/* Every so many syncs fail. The fault is looked at by this thread alone. */
static atomic_uint syncs;
static unsigned sync_fails_every;

static int sometimes_sync(int fd)
{
    unsigned n = atomic_fetch_add(&syncs, 1);

    if (sync_fails_every != 0 && n % sync_fails_every == sync_fails_every - 1) {
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

static void run_appenders(const struct sx_slog_sys *sys)
{
    pthread_t thread[APPENDERS];
    struct sx_slog *l = opened(sys);
    simplex_rc rc = SIMPLEX_OK;

    atomic_store(&working, APPENDERS);
    for (uint8_t i = 0; i < APPENDERS; i++) {
        appenders[i] = (struct appender){ l, i, 0 };
        assert_int_equal(pthread_create(&thread[i], NULL, append_lines, &appenders[i]), 0);
    }
    while (atomic_load(&working) > 0)
        rc = rc == SIMPLEX_OK ? sx_slog_sync(l) : sx_slog_recover(l);
    for (unsigned i = 0; i < APPENDERS; i++)
        pthread_join(thread[i], NULL);
    while (sx_slog_recover(l) != SIMPLEX_OK) {
    }
    while (sx_slog_close(l) != SIMPLEX_OK)
        fail();
}

static void keeps_the_order_of_each_thread(void **state)
{
    (void)state;
    run_appenders(NULL);
    for (unsigned i = 0; i < APPENDERS; i++)
        assert_int_equal(appenders[i].taken, EACH);
    assert_all_in_order();
}

static void loses_nothing_when_syncs_fail(void **state)
{
    struct sx_slog_sys sys = sx_slog_system;

    (void)state;
    sys.sync = sometimes_sync;
    sync_fails_every = 5;
    run_appenders(&sys);
    sync_fails_every = 0;
    assert_all_in_order();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(takes_nothing_without_room, clean),
        cmocka_unit_test_setup(takes_a_line_back_where_room_cannot_be_reserved, clean),
        cmocka_unit_test_setup(writes_again_what_failed, clean),
        cmocka_unit_test_setup(waits_for_room_before_it_recovers, clean),
        cmocka_unit_test_setup(tells_when_the_end_was_lost, clean),
        cmocka_unit_test_setup(lives_with_a_limit_of_the_file_size, clean),
        cmocka_unit_test_setup(takes_nothing_without_memory, clean),
        cmocka_unit_test_setup(bounds_what_it_keeps, clean),
        cmocka_unit_test_setup(keeps_what_was_synced_when_killed, clean),
        cmocka_unit_test_setup(keeps_what_was_synced_when_the_power_fails, clean),
        cmocka_unit_test_setup(keeps_the_order_of_each_thread, clean),
        cmocka_unit_test_setup(loses_nothing_when_syncs_fail, clean),
    };

    if (!disk_open())
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    disk_close();
    return failed;
}
