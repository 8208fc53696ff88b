/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store log from the file to the queues and back: what the reference tests of its own
 * (protocol/smp.md section 11, StoreLogTests), and records that do not fit.
 */
#include "store_log_util.h"

#include "services.h"
#include "store_index.h"

static char dir[] = "/tmp/sx-slog-XXXXXX";
static char path[PATH_MAX];
static char warnings[4096];
static char problem[512];

static void on_warn(void *user, const char *text)
{
    (void)user;
    strncat(warnings, text, sizeof(warnings) - strlen(warnings) - 1);
    strncat(warnings, "\n", sizeof(warnings) - strlen(warnings) - 1);
}

static void clean(void)
{
    char name[PATH_MAX + 300];
    const struct dirent *e;
    DIR *d = opendir(dir);

    while ((e = readdir(d)) != NULL) {
        snprintf(name, sizeof(name), "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            assert_int_equal(unlink(name), 0);
    }
    closedir(d);
}

static void write_log(const char *text)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
}

static void assert_log(const char *text)
{
    char buf[16384];
    FILE *f = fopen(path, "rb");

    assert_non_null(f);
    size_t n = fread(buf, 1, sizeof(buf) - 1, f);
    fclose(f);
    buf[n] = 0;
    assert_string_equal(buf, text);
}

static struct sx_store *load(struct sx_load_counts *counts)
{
    struct sx_errtext err = { problem, sizeof(problem) };
    struct sx_load_cfg cfg = { .path = path, .warn = on_warn };
    struct sx_qstore_cfg store = { .quota = 4 };
    struct sx_store *st;
    struct sx_slog *log;

    warnings[0] = 0;
    assert_int_equal(sx_qstore_open(&store, &st), SIMPLEX_OK);
    assert_int_equal(sx_store_load(st, &cfg, counts, &err, &log), SIMPLEX_OK);
    assert_int_equal(sx_slog_close(log), SIMPLEX_OK);
    return st;
}

/* Reads `saved` three times over, as the reference does: each time `compacted` is left. */
static struct sx_store *replay(const char *saved, const char *compacted)
{
    struct sx_load_counts counts;
    struct sx_store *st = NULL;

    clean();
    write_log(saved);
    for (int i = 0; i < 3; i++) {
        sx_qstore_close(st);
        st = load(&counts);
        assert_int_equal(counts.unknown + counts.refused, 0);
        assert_string_equal(warnings, "");
        assert_log(compacted);
    }
    return st;
}

static struct sx_queue *find(struct sx_store *st, enum sx_id_kind kind, uint8_t v)
{
    uint8_t id[24];

    memset(id, v, sizeof(id));
    return sx_qstore_find(st, kind, sx_bytes(id, sizeof(id)));
}

#define L "\n"

static void replays_what_the_reference_tests(void **state)
{
    static const struct {
        const char *saved, *compacted;
    } rows[] = {
        { NEW_QUEUE L, NEW_QUEUE L },
        { NEW_QUEUE " sndSecure=T" L, NEW_QUEUE " queue_mode=M" L },
        { NEW_QUEUE " queue_mode=C link_id=" LID " queue_data=" FIXED " " USER L,
          NEW_QUEUE " queue_mode=C link_id=" LID " queue_data=" FIXED " " USER L },
        { NEW_QUEUE L "LINK " RID " " LID " " FIXED " " USER L,
          NEW_QUEUE " link_id=" LID " queue_data=" FIXED " " USER L },
        { NEW_QUEUE " link_id=" LID " queue_data=" FIXED " " FIXED L "LINK " RID " " LID " " FIXED
                    " " USER L,
          NEW_QUEUE " link_id=" LID " queue_data=" FIXED " " USER L },
        { NEW_QUEUE " link_id=" LID " queue_data=" FIXED " " USER L "LDELETE " RID L, NEW_QUEUE L },
        { NEW_QUEUE L "SECURE " RID " " ED2 L, NEW_QUEUE ED2 L },
        { NEW_QUEUE L "DELETE " RID L, "" },
        { NEW_QUEUE L "NOTIFIER " RID " " NID " " X " " NDH L,
          NEW_QUEUE " notifier=" NID " " X " " NDH L },
        { NEW_QUEUE L "NOTIFIER " RID " " SRV " " ED " " RDH L "NOTIFIER " RID " " NID " " X
                      " " NDH L,
          NEW_QUEUE " notifier=" NID " " X " " NDH L },
        { NEW_QUEUE L "NOTIFIER " RID " " NID " " X " " NDH L "NDELETE " RID L, NEW_QUEUE L },
        { NEW_QUEUE L "NOTIFIER " RID " " NID " " X " " NDH L NEW_SERVICE_OF("N") L
          "QUEUE_SERVICE " RID " N " SRV L,
          NEW_SERVICE_OF("N") L NEW_QUEUE " notifier=" NID " " X " " NDH " nsrv=" SRV L },
        { NEW_SERVICE_OF("M") L NEW_QUEUE L "QUEUE_SERVICE " RID " R " SRV L,
          NEW_SERVICE_OF("M") L NEW_QUEUE " rsrv=" SRV L },
        { NEW_SERVICE_OF("M") L NEW_QUEUE " rsrv=" SRV L "QUEUE_SERVICE " RID " R " L,
          NEW_SERVICE_OF("M") L NEW_QUEUE L },
        { NEW_QUEUE L "TIME " RID " " DAY_TEXT L, NEW_QUEUE " updated_at=" DAY_TEXT L },
        { NEW_QUEUE L "KEYS " RID " " ED2 "," X L,
          "CREATE rid=" RID " rk=" ED2 "," X " rdh=" RDH " sid=" SID " sk=" L },
        { NEW_QUEUE L "KEYS " RID " " ED2 "," X L "KEYS " RID " " ED L, NEW_QUEUE L },
        { NEW_QUEUE L "SUSPEND " RID L, NEW_QUEUE " status=off" L },
        { NEW_QUEUE L "BLOCK " RID " reason=content,notice={\"ttl\":5}" L,
          NEW_QUEUE " status=blocked,reason=content,notice={\"ttl\":5}" L },
        { NEW_QUEUE " status=blocked,reason=spam,notice={}" L "UNBLOCK " RID L, NEW_QUEUE L },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++)
        sx_qstore_close(replay(rows[i].saved, rows[i].compacted));
}

/* testWithStoreLog: six lines of two queues, of which one line is left. */
static void keeps_the_queue_that_is_left(void **state)
{
    struct sx_store *st = replay(NEW_QUEUE " queue_mode=M" L "SECURE " RID " " ED2 L "NOTIFIER " RID
                                           " " NID " " X " " NDH L NEW_QUEUE2 " queue_mode=M" L
                                           "SECURE " RID2 " " ED2 L "DELETE " RID2 L,
                                 NEW_QUEUE ED2 " queue_mode=M notifier=" NID " " X " " NDH L);
    struct sx_queue *q = find(st, SX_BY_RCV, 1);

    (void)state;
    assert_non_null(q);
    assert_ptr_equal(find(st, SX_BY_SND, 2), q);
    sx_queue_unref(q);
    assert_ptr_equal(find(st, SX_BY_NTF, 4), q);
    sx_queue_unref(q);
    assert_null(find(st, SX_BY_RCV, 6));
    assert_null(find(st, SX_BY_SND, 7));
    assert_int_equal(sx_qstore_queues(st), 1);
    assert_true(is_key(&q->rcv_key, SX_ED25519, 0));
    assert_true(is_key(&q->snd_key, SX_ED25519, 32));
    assert_true(all(q->secret, 0xaa, 32) && all(q->ntf->secret, 0xbb, 32));
    assert_false(q->deleted);
    sx_queue_unref(q);
    sx_qstore_close(st);
}

static void counts_queues_of_services(void **state)
{
    struct sx_store *st = replay(NEW_SERVICE_OF("M") L NEW_QUEUE " rsrv=" SRV L,
                                 NEW_SERVICE_OF("M") L NEW_QUEUE " rsrv=" SRV L);
    struct sx_services_count n;

    (void)state;
    sx_services_count(st, &n);
    assert_int_equal(n.services[0], 1);
    assert_int_equal(n.queues[0], 1);
    sx_qstore_close(st);
}

static void leaves_out_what_does_not_fit(void **state)
{
    static const struct {
        const char *saved, *compacted;
        unsigned unknown, refused, line;
    } rows[] = {
        { "DELETE " RID L NEW_QUEUE L, NEW_QUEUE L, 1, 0, 1 },
        { NEW_QUEUE L NEW_QUEUE2 ED L "DELETE " RID2 L NEW_QUEUE L, NEW_QUEUE L, 0, 1, 4 },
        { NEW_QUEUE L "CREATE rid=" RID2 " rk=" ED " rdh=" RDH " sid=" SID " sk=" L, NEW_QUEUE L, 0,
          1, 2 },
        { NEW_QUEUE ED L "SECURE " RID " " ED L "SECURE " RID " " ED2 L, NEW_QUEUE ED L, 0, 1, 3 },
        { NEW_QUEUE " link_id=" LID " queue_data=" FIXED " " USER L "LINK " RID " " LID " " USER
                    " " USER L "LINK " RID " " SRV " " FIXED " " USER L,
          NEW_QUEUE " link_id=" LID " queue_data=" FIXED " " USER L, 0, 2, 2 },
        { NEW_QUEUE " notifier=" NID " " X " " NDH L "NOTIFIER " RID " " NID " " ED " " RDH L,
          NEW_QUEUE " notifier=" NID " " X " " NDH L, 0, 1, 2 },
        { NEW_QUEUE " rsrv=" SRV L, NEW_QUEUE L, 1, 0, 1 },
        { NEW_SERVICE_OF("N") L NEW_QUEUE " rsrv=" SRV L, NEW_SERVICE_OF("N") L NEW_QUEUE L, 0, 1,
          2 },
        { NEW_SERVICE_OF("M") L NEW_SERVICE_OF("N") L, NEW_SERVICE_OF("M") L, 0, 1, 2 },
        { NEW_SERVICE_OF("N") L NEW_QUEUE L "QUEUE_SERVICE " RID " N " SRV L,
          NEW_SERVICE_OF("N") L NEW_QUEUE L, 0, 1, 3 },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_load_counts counts;
        clean();
        write_log(rows[i].saved);
        sx_qstore_close(load(&counts));
        assert_int_equal(counts.unknown, rows[i].unknown);
        assert_int_equal(counts.refused, rows[i].refused);
        assert_int_equal(counts.first_odd, rows[i].line);
        assert_non_null(strstr(warnings, path));
        assert_log(rows[i].compacted);
        sx_qstore_close(load(&counts));
        assert_int_equal(counts.first_odd, 0);
    }
}

static void survives_each_failed_malloc(void **state)
{
    static const char saved[] = NEW_SERVICE_OF("N") L NEW_QUEUE
        " link_id=" LID " queue_data=" FIXED " " USER L "NOTIFIER " RID " " NID " " X " " NDH L
        "QUEUE_SERVICE " RID " N " SRV L "KEYS " RID " " ED "," ED2 L NEW_QUEUE2 L;
    struct sx_errtext err = { problem, sizeof(problem) };
    struct sx_load_cfg cfg = { .path = path, .warn = on_warn };
    struct sx_qstore_cfg store = { .quota = 4 };
    bool fired = true;

    (void)state;
    for (unsigned nth = 0; fired; nth++) {
        struct sx_store *st;
        struct sx_slog *log;
        clean();
        write_log(saved);
        size_t blocks = sx_fault_live_blocks();
        assert_int_equal(sx_qstore_open(&store, &st), SIMPLEX_OK);
        sx_fault_malloc(nth);
        simplex_rc rc = sx_store_load(st, &cfg, NULL, &err, &log);
        fired = sx_fault_disarm();
        assert_true(rc == SIMPLEX_OK || (fired && rc == SIMPLEX_E_NOMEM && log == NULL));
        if (rc == SIMPLEX_OK)
            assert_int_equal(sx_slog_close(log), SIMPLEX_OK);
        sx_qstore_close(st);
        assert_int_equal(sx_fault_live_blocks(), blocks);
        st = load(NULL); /* whatever happened, nothing is lost */
        struct sx_queue *q = find(st, SX_BY_LINK, 3);
        assert_non_null(q);
        assert_non_null(sx_queue_service(q, true));
        assert_int_equal(q->keys->count, 2);
        sx_queue_unref(q);
        assert_int_equal(sx_qstore_queues(st), 2);
        sx_qstore_close(st);
    }
}

/* More queues than one walk over the index takes at once. */
static void reads_back_ten_thousand_queues(void **state)
{
    enum { N = 10000 };
    struct sx_errtext err = { problem, sizeof(problem) };
    struct sx_load_cfg cfg = { .path = path, .warn = on_warn };
    struct sx_qstore_cfg store = { .quota = 4 };
    struct sx_queue_new n = { .mode = SX_MODE_MESSAGING, .rcv_key = { .alg = SX_ED25519 } };
    static uint8_t ids[N][24];
    struct sx_slog_record r;
    struct sx_store *st;
    struct sx_slog *log;
    struct sx_queue *q;

    (void)state;
    clean();
    assert_int_equal(sx_qstore_open(&store, &st), SIMPLEX_OK);
    assert_int_equal(sx_store_load(st, &cfg, NULL, &err, &log), SIMPLEX_OK);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(sx_qstore_create(st, &n, &q), SX_ERR_NONE);
        memcpy(ids[i], q->rcv.id, 24);
        sx_load_create_record(q, &r);
        assert_true(sx_slog_write(log, &r));
        sx_queue_unref(q);
    }
    assert_int_equal(sx_slog_close(log), SIMPLEX_OK);
    sx_qstore_close(st);
    for (int round = 0; round < 2; round++) {
        st = load(NULL);
        assert_int_equal(sx_qstore_queues(st), N);
        for (size_t i = 0; i < N; i++) {
            q = sx_qstore_find(st, SX_BY_RCV, sx_bytes(ids[i], 24));
            assert_non_null(q);
            assert_int_equal(q->mode, SX_MODE_MESSAGING);
            sx_queue_unref(q);
        }
        sx_qstore_close(st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replays_what_the_reference_tests),
        cmocka_unit_test(keeps_the_queue_that_is_left),
        cmocka_unit_test(counts_queues_of_services),
        cmocka_unit_test(leaves_out_what_does_not_fit),
        cmocka_unit_test(survives_each_failed_malloc),
        cmocka_unit_test(reads_back_ten_thousand_queues),
    };

    if (sx_crypto_init() != SIMPLEX_OK || mkdtemp(dir) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/smp-server-store.log", dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    clean();
    rmdir(dir);
    return failed;
}
