/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction of the store log while queues and services change: the new file says what the memory
 * has, whatever happens meanwhile, wherever it is killed, and whichever system call fails.
 */
#include "store_log_util.h"

#include <pthread.h>

#include "persist_compact.h"
#include "services.h"
#include "store_index.h"
#include "store_log_compact.h"
#include "store_log_internal.h"

#define QUEUES 400
#define POOL 8 /* link and sender ids, and certificates, that queues take from each other */

static char dir[64], copy_dir[64];
static char path[128], compact_path[160];

/* ---- system calls ---- */

enum call { PWRITE, FALLOCATE, FTRUNCATE, SYNC, RENAME, UNLINK, OPEN };

static long calls, fail_at; /* counted while armed; the fail_at-th fails, 0: none */
static bool armed;
static int fail_errno;
static void (*on_call)(enum call c); /* before each of them; or NULL */
static uint64_t compact_written, compact_synced;
static int compact_fd = -1;

static bool fails(enum call c)
{
    if (!armed)
        return false;
    if (on_call != NULL)
        on_call(c);
    if (++calls != fail_at)
        return false;
    errno = fail_errno;
    return true;
}

static ssize_t do_pwrite(int fd, const void *p, size_t n, off_t at)
{
    if (fails(PWRITE))
        return -1;
    if (fd == compact_fd)
        compact_written = (uint64_t)at + n;
    return pwrite(fd, p, n, at);
}

static int do_fallocate(int fd, off_t at, off_t n)
{
    return fails(FALLOCATE) ? -1 : sx_slog_system.fallocate(fd, at, n);
}

static int do_ftruncate(int fd, off_t size)
{
    return fails(FTRUNCATE) ? -1 : ftruncate(fd, size);
}

static int do_sync(int fd)
{
    if (fails(SYNC))
        return -1;
    if (fd == compact_fd)
        compact_synced = compact_written;
    return 0; /* nobody pulls the plug here */
}

static int do_rename(const char *from, const char *to)
{
    if (strcmp(from, compact_path) == 0) /* or a loss of power would leave half a file */
        assert_int_equal(compact_written, compact_synced);
    return fails(RENAME) ? -1 : rename(from, to);
}

static int do_unlink(const char *p)
{
    return fails(UNLINK) ? -1 : unlink(p);
}

static int do_open(const char *p, int flags, mode_t mode)
{
    if (fails(OPEN))
        return -1;
    int fd = open(p, flags, mode);
    if (strcmp(p, compact_path) == 0) {
        compact_fd = fd;
        compact_written = compact_synced = 0;
    }
    return fd;
}

static const struct sx_slog_sys sys = { do_pwrite, do_fallocate, do_ftruncate, do_sync,
                                        do_rename, do_unlink,    do_open };

/* ---- the world ---- */

struct world {
    struct sx_store *st;
    struct sx_persist p;
    struct sx_queue *queue[QUEUES]; /* referenced; NULL: none */
    struct sx_service *svc[2 * POOL];
};

static struct world w;

static void on_warn(void *user, const char *text)
{
    (void)user;
    fail_msg("%s", text);
}

static struct sx_store *load(const char *from, const struct sx_slog_sys *with, struct sx_slog **log)
{
    struct sx_qstore_cfg qs = { 0 };
    struct sx_load_cfg cfg = { .path = from, .sys = with, .warn = on_warn };
    char text[512] = "";
    struct sx_errtext err = { text, sizeof(text) };
    struct sx_load_counts counts;
    struct sx_store *st;

    assert_int_equal(sx_qstore_open(&qs, &st), SIMPLEX_OK);
    simplex_rc rc = sx_store_load(st, &cfg, &counts, &err, log);
    if (rc != SIMPLEX_OK)
        fail_msg("%s: %s", from, text);
    assert_int_equal(counts.unknown + counts.refused, 0);
    return st;
}

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    (void)snprintf(dir, sizeof(dir), "/tmp/sx-compact-XXXXXX");
    (void)snprintf(copy_dir, sizeof(copy_dir), "/tmp/sx-compact-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_non_null(mkdtemp(copy_dir));
    (void)snprintf(path, sizeof(path), "%s/smp-server-store.log", dir);
    (void)snprintf(compact_path, sizeof(compact_path), "%s.compact", path);
    memset(&w, 0, sizeof(w));
    armed = false;
    on_call = NULL;
    w.st = load(path, &sys, &w.p.log);
    w.p.st = w.st;
    w.p.cfg = (struct sx_persist_cfg){ .compact_factor = 2, .compact_min = 1, .compact_slice = 1 };
    w.p.path[SX_FILE_QUEUES] = path;
    w.st->persist = &w.p;
    return 0;
}

static void close_store(struct sx_store *st, struct sx_slog *log)
{
    st->persist = NULL;
    assert_int_equal(sx_slog_close(log), SIMPLEX_OK);
    sx_qstore_close(st);
}

static int tear_down(void **state)
{
    char command[300];

    (void)state;
    armed = false;
    for (size_t i = 0; i < QUEUES; i++)
        sx_queue_unref(w.queue[i]);
    if (w.st != NULL)
        close_store(w.st, w.p.log);
    (void)snprintf(command, sizeof(command), "rm -rf '%s' '%s'", dir, copy_dir);
    assert_int_equal(system(command), 0);
    return 0;
}

/* ---- what is there ---- */

struct lines {
    char *line[4 * QUEUES];
    size_t n;
};

static bool add_line(void *to, const struct sx_slog_record *r)
{
    struct lines *l = to;
    struct sx_wr wr;

    sx_wr_init(&wr, 1u << 20);
    sx_slog_encode(&wr, r);
    sx_wr_u8(&wr, 0);
    assert_false(wr.bad);
    assert_true(l->n < SX_COUNT(l->line));
    l->line[l->n++] = strdup((char *)wr.p);
    sx_wr_free(&wr);
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct lines dump(struct sx_store *st)
{
    struct lines l = { .n = 0 };

    assert_true(sx_load_rewrite(st, add_line, &l));
    qsort(l.line, l.n, sizeof(l.line[0]), by_text);
    return l;
}

static void assert_same(struct sx_store *a, struct sx_store *b)
{
    struct lines x = dump(a), y = dump(b);

    for (size_t i = 0; i < x.n && i < y.n; i++)
        assert_string_equal(x.line[i], y.line[i]);
    assert_int_equal(x.n, y.n);
    for (size_t i = 0; i < x.n; i++) {
        free(x.line[i]);
        free(y.line[i]);
    }
}

/* The files as they are now, as a start finds them after the process was killed. */
static void assert_restart_finds_all(void)
{
    char command[400], copied[128], left[160];
    struct sx_slog *log;

    (void)snprintf(command, sizeof(command), "rm -rf '%s'/* && cp '%s'/* '%s'", copy_dir, dir,
                   copy_dir);
    assert_int_equal(system(command), 0);
    (void)snprintf(copied, sizeof(copied), "%s/smp-server-store.log", copy_dir);
    struct sx_store *st = load(copied, NULL, &log);
    assert_same(w.st, st);
    (void)snprintf(left, sizeof(left), "%s.compact", copied);
    assert_int_not_equal(access(left, F_OK), 0); /* what was left is gone */
    close_store(st, log);
}

/* ---- changes ---- */

static unsigned pick(unsigned n)
{
    return (unsigned)(rand() % (int)n);
}

static const uint8_t *pool_id(uint8_t kind)
{
    static uint8_t id[SX_ID_LEN];

    memset(id, (int)(16 * kind + pick(POOL)), sizeof(id));
    return id;
}

static void create(size_t i)
{
    struct sx_queue_new n = { .mode = SX_MODE_CONTACT,
                              .rcv_key = { .alg = SX_ED25519 },
                              .ntf_key = { .alg = SX_ED25519 },
                              .snd_id = pick(4) == 0 ? pool_id(1) : NULL,
                              .has_link = pick(3) == 0,
                              .link_id = pick(2) == 0 ? pool_id(2) : NULL,
                              .fixed = sx_str("fixed"),
                              .user = sx_str("user"),
                              .has_ntf = pick(3) == 0 };

    sx_random(n.secret, sizeof(n.secret));
    enum sx_err e = sx_qstore_create(w.st, &n, &w.queue[i]);
    assert_true(e == SX_ERR_NONE || e == SX_ERR_AUTH); /* the id is taken */
}

static void join(struct sx_queue *q, bool ntf)
{
    uint8_t hash[32] = { (uint8_t)(1 + pick(POOL)), ntf };
    struct sx_chain chain = { .count = 1, .cert = { sx_str("certificate") } };
    struct sx_service *svc = sx_service_enter(w.st, ntf ? 'N' : 'M', hash, &chain, 86400);

    assert_non_null(svc);
    assert_int_equal(sx_queue_set_service(w.st, q, ntf, pick(4) == 0 ? NULL : svc), SX_ERR_NONE);
    sx_service_release(w.st, svc);
}

static void set_notifier(struct sx_queue *q)
{
    struct sx_pub key = { .alg = SX_ED25519, .b = { (uint8_t)pick(256) } };
    const uint8_t secret[32] = { (uint8_t)pick(256) };
    struct sx_notifier *made;

    if (pick(2) == 0) {
        assert_int_equal(sx_queue_record_del_notifier(w.st, q), SX_ERR_NONE);
        sx_queue_del_notifier(w.st, q);
        return;
    }
    assert_int_equal(sx_queue_make_notifier(w.st, q, &key, secret, &made), SX_ERR_NONE);
    sx_queue_put_notifier(w.st, q, made);
}

static void change(size_t i)
{
    static const char *const texts[] = { "user", "other user data", "" };
    struct sx_queue *q = w.queue[i];
    struct sx_pub key = { .alg = SX_ED25519, .b = { (uint8_t)pick(2) } };

    sx_queue_lock(w.st, q);
    switch (pick(9)) {
    case 0:
        assert_int_equal(sx_queue_record_delete(w.st, q), SX_ERR_NONE);
        sx_queue_delete(w.st, q);
        break;
    case 1:
        (void)(sx_queue_secure(w.st, q, &key) == SX_ERR_NONE); /* or another key is there */
        break;
    case 2: { /* the id may be another queue's, and the link another one */
        enum sx_err e = sx_queue_set_link(w.st, q, sx_bytes(pool_id(2), SX_ID_LEN), sx_str("fixed"),
                                          sx_str(texts[pick(3)]));
        assert_true(e == SX_ERR_NONE || e == SX_ERR_AUTH);
        break;
    }
    case 3:
        assert_int_equal(sx_queue_del_link(w.st, q), SX_ERR_NONE);
        break;
    case 4:
        set_notifier(q);
        break;
    case 5:
        join(q, false);
        break;
    case 6:
        if (q->ntf != NULL)
            join(q, true);
        break;
    case 7:
        assert_int_equal(sx_queue_set_status(w.st, q, pick(2) == 0 ? SX_Q_OFF : SX_Q_ACTIVE, 0),
                         SX_ERR_NONE);
        break;
    default:
        sx_persist_used(w.st, q, (int64_t)(1 + pick(30)) * 86400000);
    }
    bool deleted = q->deleted;
    sx_queue_unlock(w.st, q);
    if (deleted) {
        sx_queue_unref(q);
        w.queue[i] = NULL;
    }
}

static void change_some(unsigned n)
{
    while (n-- > 0) {
        size_t i = pick(QUEUES);
        if (w.queue[i] == NULL)
            create(i);
        else
            change(i);
    }
}

/* ---- tests ---- */

static void the_new_log_says_what_the_memory_has_whatever_changes_meanwhile(void **state)
{
    (void)state;
    unsigned seed = (unsigned)sx_now_ms();
    print_message("seed %u\n", seed);
    srand(seed);
    change_some(2000);
    for (unsigned round = 0; round < 25; round++) {
        uint64_t done = atomic_load(&w.p.compact.done);
        unsigned slices = 0;
        while (!sx_persist_compact(&w.p))
            change_some(200);
        do {
            change_some(pick(60));
            if (pick(8) == 0)
                assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
            slices++;
        } while (sx_persist_compact(&w.p));
        assert_int_equal(atomic_load(&w.p.compact.done), done + 1);
        assert_true(slices > 20);
        change_some(pick(60));
        assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
        assert_restart_finds_all();
    }
    assert_int_equal(atomic_load(&w.p.compact.failures), 0);
}

/* Clients that change the same again and again. */
static void the_log_stays_small_under_endless_changes(void **state)
{
    uint64_t bytes, base, most = 0;

    (void)state;
    srand(1);
    w.p.cfg.compact_min = 64 << 10;
    for (unsigned i = 0; i < 300; i++) {
        change_some(300);
        assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
        while (sx_persist_compact(&w.p))
            ;
        sx_slog_growth(w.p.log, &bytes, &base);
        most = bytes > most ? bytes : most;
    }
    assert_true(atomic_load(&w.p.compact.done) > 5);
    assert_true(most < 2 * (300u << 10) + (300 * 700)); /* twice what lives, and a step */
    assert_restart_finds_all();
}

static unsigned images;

static void crash(enum call c)
{
    (void)c;
    armed = false;
    assert_restart_finds_all();
    images++;
    armed = true;
}

static void a_kill_at_any_step_loses_nothing(void **state)
{
    (void)state;
    srand(2);
    w.p.cfg.compact_slice = 16 << 10;
    change_some(1500);
    assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
    on_call = crash;
    armed = true;
    assert_true(sx_persist_compact(&w.p));
    while (sx_persist_compact(&w.p)) {
        armed = false;
        change_some(20);
        assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK); /* answered from here on */
        armed = true;
    }
    armed = false;
    assert_int_equal(atomic_load(&w.p.compact.done), 1);
    assert_true(images > 10);
    assert_restart_finds_all();
    change_some(50);
    assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
    assert_restart_finds_all();
}

/* One compaction whose nth system call fails; false: there were fewer. */
static bool fail_once(long nth, int error)
{
    uint64_t done = atomic_load(&w.p.compact.done), given_up = atomic_load(&w.p.compact.failures);

    w.p.compact.retry_ms = 0;
    calls = 0;
    fail_at = nth;
    fail_errno = error;
    while (!sx_persist_compact(&w.p) && atomic_load(&w.p.compact.failures) == given_up) {
        armed = false;
        change_some(100);
        assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
        armed = true;
    }
    while (w.p.compact.stage != SX_COMPACT_IDLE) {
        armed = true;
        (void)sx_persist_compact(&w.p);
        armed = false;
        if (!sx_slog_failed(w.p.log))
            change_some(5);
    }
    armed = false;
    bool failed = calls >= nth;
    if (sx_slog_failed(w.p.log)) /* after the rename */
        assert_int_equal(sx_slog_recover(w.p.log), SIMPLEX_OK);
    assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
    assert_int_equal(
        atomic_load(&w.p.compact.done) - done + atomic_load(&w.p.compact.failures) - given_up, 1);
    assert_int_not_equal(access(compact_path, F_OK), 0);
    assert_restart_finds_all();
    return failed;
}

static void a_system_call_that_fails_at_any_step_loses_nothing(void **state)
{
    static const int errors[] = { ENOSPC, EIO };

    (void)state;
    srand(3);
    w.p.cfg.compact_slice = 64 << 10;
    change_some(1500);
    assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
    for (size_t e = 0; e < SX_COUNT(errors); e++) {
        long nth = 1;
        while (fail_once(nth, errors[e]))
            nth++;
        assert_true(nth > 5);
    }
    assert_true(atomic_load(&w.p.compact.failures) > 5);
    assert_true(atomic_load(&w.p.compact.done) > 1);
}

static void refuse_dir(enum call c)
{
    static unsigned opens;

    if (c == OPEN && ++opens == 2) { /* the first one makes the file */
        fail_at = calls + 1;
        fail_errno = EIO;
    }
}

/* After the rename it is not known which file a loss of power would leave. */
static void nothing_is_taken_until_the_rename_is_on_disk(void **state)
{
    (void)state;
    srand(4);
    change_some(1000);
    assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
    on_call = refuse_dir;
    fail_at = 0;
    calls = 0;
    armed = true;
    while (sx_persist_compact(&w.p))
        ;
    on_call = NULL;
    assert_int_equal(atomic_load(&w.p.compact.done), 1);
    assert_true(sx_slog_failed(w.p.log));
    assert_int_not_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
    fail_at = calls + 1; /* still not */
    assert_int_not_equal(sx_slog_recover(w.p.log), SIMPLEX_OK);
    assert_true(sx_slog_failed(w.p.log));
    armed = false;
    assert_int_equal(sx_slog_recover(w.p.log), SIMPLEX_OK);
    change_some(100);
    assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
    assert_restart_finds_all();
}

static void without_memory_it_is_given_up(void **state)
{
    (void)state;
    srand(5);
    change_some(1000);
    for (unsigned nth = 1; atomic_load(&w.p.compact.done) == 0; nth++) {
        assert_true(nth < 1000);
        w.p.compact.retry_ms = 0;
        bool more = true;
        while (more) {
            sx_fault_malloc(nth);
            more = sx_persist_compact(&w.p);
            (void)sx_fault_disarm();
        }
        assert_int_equal(sx_slog_sync(w.p.log), SIMPLEX_OK);
        assert_int_not_equal(access(compact_path, F_OK), 0);
        assert_restart_finds_all();
    }
    assert_true(atomic_load(&w.p.compact.failures) > 0);
}

static void after_a_failure_it_is_not_tried_at_once(void **state)
{
    (void)state;
    srand(6);
    change_some(1000);
    calls = 0;
    fail_at = 2;
    fail_errno = ENOSPC;
    armed = true;
    while (atomic_load(&w.p.compact.failures) == 0)
        (void)sx_persist_compact(&w.p);
    long before = calls;
    for (int i = 0; i < 10; i++)
        assert_false(sx_persist_compact(&w.p));
    assert_int_equal(calls, before);
    w.p.compact.retry_ms = 0;
    while (atomic_load(&w.p.compact.done) == 0)
        (void)sx_persist_compact(&w.p);
}

/* ---- with threads ---- */

struct worker {
    pthread_t thread;
    struct sx_store *st;
    struct sx_queue *mine[50];
    uint8_t number;
};

static void work_on(struct worker *k, unsigned n)
{
    struct sx_queue_new make = { .mode = SX_MODE_MESSAGING, .rcv_key = { .alg = SX_ED25519 } };
    uint8_t hash[32] = { k->number, (uint8_t)(n / 64) };
    struct sx_chain chain = { .count = 1, .cert = { sx_str("certificate") } };
    struct sx_queue **q = &k->mine[n % SX_COUNT(k->mine)];

    if (*q == NULL) {
        assert_int_equal(sx_qstore_create(k->st, &make, q), SX_ERR_NONE);
        return;
    }
    struct sx_service *svc = sx_service_enter(k->st, 'M', hash, &chain, 86400);
    assert_non_null(svc);
    sx_queue_lock(k->st, *q);
    bool gone = n % 3 == 0;
    if (gone) {
        assert_int_equal(sx_queue_record_delete(k->st, *q), SX_ERR_NONE);
        sx_queue_delete(k->st, *q);
    } else {
        assert_int_equal(sx_queue_set_service(k->st, *q, false, svc), SX_ERR_NONE);
    }
    sx_queue_unlock(k->st, *q);
    sx_service_release(k->st, svc);
    if (gone) {
        sx_queue_unref(*q);
        *q = NULL;
    }
}

/* The log keeps only so much for a disk that stands still. */
static void wait_for_disk(struct sx_store *st)
{
    uint64_t stamp = sx_persist_stamp(st);

    sx_persist_request(st);
    while (sx_persist_state(st, stamp) == SX_COMMIT_WAIT)
        usleep(1000);
}

static void *run(void *arg)
{
    struct worker *k = arg;
    struct sx_persist_figures f = { .compactions = 0 };
    int64_t until = sx_mono_ms() + 200000;

    /* However slow the disk: each compaction takes many commits. */
    for (unsigned n = 0; n < 20000 || (f.compactions < 5 && sx_mono_ms() < until); n++) {
        work_on(k, n);
        if (n % 100 != 0)
            continue;
        sx_persist_request(k->st);
        (void)sx_persist_figures(k->st, &f);
        if (n % 1000 == 0)
            wait_for_disk(k->st);
    }
    return NULL;
}

static void threads_go_on_while_the_log_is_compacted(void **state)
{
    struct sx_qstore_cfg qs = { .services = 100 };
    struct sx_persist_cfg cfg = { .dir = copy_dir,
                                  .messages = SX_KEEP_NOT,
                                  .compact_factor = 2,
                                  .compact_min = 32u << 10,
                                  .compact_slice = 4 << 10 };
    struct sx_errtext err = { NULL, 0 };
    struct sx_persist_figures f;
    struct worker worker[3] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };
    struct sx_store *st, *again;

    (void)state;
    assert_int_equal(sx_qstore_open(&qs, &st), SIMPLEX_OK);
    assert_int_equal(sx_persist_open(&cfg, st, &err), SIMPLEX_OK);
    for (size_t i = 0; i < SX_COUNT(worker); i++) {
        worker[i].st = st;
        assert_int_equal(pthread_create(&worker[i].thread, NULL, run, &worker[i]), 0);
    }
    for (size_t i = 0; i < SX_COUNT(worker); i++)
        assert_int_equal(pthread_join(worker[i].thread, NULL), 0);
    assert_true(sx_persist_figures(st, &f));
    assert_true(f.compactions >= 5);
    assert_int_equal(f.compaction_failures, 0);
    for (size_t i = 0; i < SX_COUNT(worker); i++)
        for (size_t k = 0; k < SX_COUNT(worker[i].mine); k++)
            sx_queue_unref(worker[i].mine[k]);
    struct lines before = dump(st);
    sx_qstore_close(st);
    assert_int_equal(sx_qstore_open(&qs, &again), SIMPLEX_OK);
    cfg.dir = copy_dir;
    assert_int_equal(sx_persist_open(&cfg, again, &err), SIMPLEX_OK);
    struct lines after = dump(again);
    /* Services without queues may be forgotten, or be back: their records count until the next
     * compaction. */
    size_t found = 0, queues = 0;
    for (size_t i = 0; i < before.n; i++) {
        if (strncmp(before.line[i], "CREATE", 6) != 0)
            continue;
        queues++;
        found += bsearch(&before.line[i], after.line, after.n, sizeof(char *), by_text) != NULL;
    }
    assert_true(queues > 0);
    assert_int_equal(found, queues);
    for (size_t i = 0; i < after.n; i++)
        queues -= strncmp(after.line[i], "CREATE", 6) == 0;
    assert_int_equal(queues, 0);
    for (size_t i = 0; i < before.n; i++)
        free(before.line[i]);
    for (size_t i = 0; i < after.n; i++)
        free(after.line[i]);
    sx_qstore_close(again);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_new_log_says_what_the_memory_has_whatever_changes_meanwhile),
        TEST(the_log_stays_small_under_endless_changes),
        TEST(a_kill_at_any_step_loses_nothing),
        TEST(a_system_call_that_fails_at_any_step_loses_nothing),
        TEST(nothing_is_taken_until_the_rename_is_on_disk),
        TEST(without_memory_it_is_given_up),
        TEST(after_a_failure_it_is_not_tried_at_once),
        TEST(threads_go_on_while_the_log_is_compacted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
