/* SPDX-License-Identifier: Apache-2.0 */
/* The reference's files of messages and notifications: lines, saving, loading, damage. */
#include "support/vec.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msg_log.h"
#include "store_index.h"

/* 24 bytes 00..17, 24 bytes 20..37, as the reference writes ids. */
#define RID "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
#define MID "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3"
#define MESSAGE "v3 " RID " " MID " 1700000000 flags=T aGVsbG8="
#define QUOTA "v3 " RID " " MID " 1700000001 quota"

static void lines_of_messages_are_the_reference_s(void **state)
{
    uint8_t rid[SX_ID_LEN], text[256];
    struct sx_msg *m;
    struct sx_wr w;

    (void)state;
    assert_int_equal(sx_msg_line_decode(sx_str(MESSAGE), rid, &m), SIMPLEX_OK);
    assert_int_equal(rid[23], 0x17);
    assert_int_equal(m->id[0], 0x20);
    assert_true(m->ts_ms == INT64_C(1700000000000));
    assert_true(m->notify && !m->quota);
    assert_true(sx_bytes_eq(sx_bytes(m->body, m->len), sx_str("hello")));
    sx_wr_fixed(&w, text, sizeof(text));
    sx_msg_line_encode(&w, rid, m);
    assert_true(sx_bytes_eq(sx_wr_bytes(&w), sx_str(MESSAGE)));
    sx_msg_unref(m);

    assert_int_equal(sx_msg_line_decode(sx_str(QUOTA), rid, &m), SIMPLEX_OK);
    assert_true(m->quota && !m->notify && m->len == 0);
    sx_wr_fixed(&w, text, sizeof(text));
    sx_msg_line_encode(&w, rid, m);
    assert_true(sx_bytes_eq(sx_wr_bytes(&w), sx_str(QUOTA)));
    sx_msg_unref(m);
}

static void other_lines_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "v3",
        "v2 " RID " " MID " 1700000000 flags=T aGVsbG8=",
        "v3 " RID " 1700000000 flags=T aGVsbG8=",
        "v3 AAEC " MID " 1700000000 flags=T aGVsbG8=",
        "v3 " RID "AAAA " MID " 1700000000 flags=T aGVsbG8=",
        "v3 " RID " " MID " -1 flags=T aGVsbG8=",
        "v3 " RID " " MID "  flags=T aGVsbG8=",
        "v3 " RID " " MID " 9999999999999 flags=T aGVsbG8=",
        "v3 " RID " " MID " 1700000000 flags=X aGVsbG8=",
        "v3 " RID " " MID " 1700000000 flags=T aGVsbG8=x",
        "v3 " RID " " MID " 1700000000 flags=T a b",
        "v3 " RID " " MID " 1700000000 quota x",
        "v3 " RID " " MID " 1700000000",
    };
    uint8_t rid[SX_ID_LEN];
    struct sx_msg *m;

    (void)state;
    for (size_t i = 0; i < SX_COUNT(bad); i++) {
        assert_int_equal(sx_msg_line_decode(sx_str(bad[i]), rid, &m), SIMPLEX_E_DECODE);
        assert_null(m);
    }
}

static void a_body_that_no_block_can_carry_is_refused(void **state)
{
    static char line[32768];
    uint8_t rid[SX_ID_LEN];
    struct sx_msg *m;
    int at = snprintf(line, sizeof(line), "v3 " RID " " MID " 1 flags=F ");

    (void)state;
    memset(line + at, 'A', 4 * 5362); /* 16086 bytes */
    line[at + 4 * 5362] = 0;
    assert_int_equal(sx_msg_line_decode(sx_str(line), rid, &m), SIMPLEX_OK);
    assert_int_equal(m->len, 16086);
    sx_msg_unref(m);
    memset(line + at, 'A', 4 * 5363);
    assert_int_equal(sx_msg_line_decode(sx_str(line), rid, &m), SIMPLEX_E_DECODE);
    memset(line + at, 'A', 4 * 8000 - 256);
    assert_int_equal(sx_msg_line_decode(sx_str(line), rid, &m), SIMPLEX_E_DECODE);
}

/* ---- files ---- */

struct fixture {
    char dir[64], path[96], ntfs[96];
    struct sx_store *st;
};

static struct sx_store *open_store(void)
{
    struct sx_qstore_cfg cfg = { .quota = 4 };
    struct sx_store *st;

    assert_int_equal(sx_qstore_open(&cfg, &st), SIMPLEX_OK);
    return st;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/sx-msg-log-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/messages", f->dir);
    (void)snprintf(f->ntfs, sizeof(f->ntfs), "%s/ntfs", f->dir);
    f->st = open_store();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    sx_qstore_close(f->st);
    (void)unlink(f->path);
    (void)unlink(f->ntfs);
    assert_int_equal(rmdir(f->dir), 0); /* nothing else is left behind */
    free(f);
    return 0;
}

static struct sx_queue *add_queue(struct sx_store *st, bool ntf)
{
    struct sx_queue_new n = { .mode = SX_MODE_MESSAGING, .has_ntf = ntf };
    struct sx_queue *q;

    n.rcv_key.alg = SX_ED25519;
    n.ntf_key.alg = SX_ED25519;
    assert_int_equal(sx_qstore_create(st, &n, &q), SX_ERR_NONE);
    return q;
}

static void push(struct sx_store *st, struct sx_queue *q, const char *body, enum sx_err expected)
{
    bool first;

    sx_queue_lock(st, q);
    assert_int_equal(sx_queue_push(st, q, sx_str(body), true, 1700000000000, &first), expected);
    sx_queue_unlock(st, q);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static struct sx_msg_log_count load(struct fixture *f, bool skip, simplex_rc expected, char *text)
{
    char none[512];
    struct sx_errtext err = { text == NULL ? none : text, sizeof(none) };
    struct sx_msg_log_count c;

    err.to[0] = 0;
    assert_int_equal(sx_msg_log_load(f->st, f->path, skip, &c, &err), expected);
    assert_int_equal(err.to[0] != 0, expected != SIMPLEX_OK);
    return c;
}

static void what_was_saved_is_loaded_in_the_same_order(void **state)
{
    struct fixture *f = *state;
    struct sx_errtext err = { NULL, 0 };
    struct stat file;
    struct sx_queue *a = add_queue(f->st, false), *b = add_queue(f->st, false);
    struct sx_msg_log_count c;

    push(f->st, a, "1", SX_ERR_NONE);
    push(f->st, a, "2", SX_ERR_NONE);
    push(f->st, a, "3", SX_ERR_NONE);
    push(f->st, a, "4", SX_ERR_NONE);
    push(f->st, a, "over", SX_ERR_QUOTA);
    push(f->st, b, "other", SX_ERR_NONE);
    assert_int_equal(sx_msg_log_save(f->st, f->path, &err), SIMPLEX_OK);
    assert_int_equal(stat(f->path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);

    c = load(f, false, SIMPLEX_OK, NULL); /* all of it is there already */
    assert_int_equal(c.known, 6);
    assert_int_equal(c.loaded, 0);
    sx_queue_lock(f->st, a);
    sx_queue_clear(f->st, a);
    sx_queue_unlock(f->st, a);
    c = load(f, false, SIMPLEX_OK, NULL);
    assert_int_equal(c.known, 1);
    assert_int_equal(c.loaded, 5);
    assert_int_equal(sx_qstore_messages(f->st), 6);
    const struct sx_msg *m = a->head;
    for (char i = '1'; i <= '4'; i++, m = m->next) {
        assert_true(sx_bytes_eq(sx_bytes(m->body, m->len), sx_bytes(&i, 1)));
        assert_true(m->notify);
    }
    assert_true(m->quota && m->next == NULL);
    push(f->st, a, "still full", SX_ERR_QUOTA);

    sx_queue_lock(f->st, a);
    sx_queue_delete(f->st, a);
    sx_queue_unlock(f->st, a);
    c = load(f, false, SIMPLEX_OK, NULL);
    assert_int_equal(c.no_queue, 5);
    sx_queue_unref(a);
    sx_queue_unref(b);
}

static void a_torn_last_line_is_left_out_and_damage_elsewhere_stops(void **state)
{
    struct fixture *f = *state;
    struct sx_msg_log_count c;
    char text[512];

    write_file(f->path, MESSAGE "\n" QUOTA "\n" MESSAGE); /* whole, but for its line feed */
    c = load(f, false, SIMPLEX_OK, NULL);
    assert_int_equal(c.no_queue, 2);
    assert_int_equal(c.bad, 1);

    write_file(f->path, MESSAGE "\nv3 damaged\n" QUOTA "\n");
    (void)load(f, false, SIMPLEX_E_DB_DAMAGED, text);
    assert_non_null(strstr(text, "messages:2 "));
    assert_non_null(strstr(text, "--skip-warnings"));
    c = load(f, true, SIMPLEX_OK, NULL);
    assert_int_equal(c.no_queue, 2);
    assert_int_equal(c.bad, 1);
}

static void a_missing_file_is_no_error_and_an_unreadable_one_is(void **state)
{
    struct fixture *f = *state;
    struct sx_msg_log_count c = load(f, false, SIMPLEX_OK, NULL);
    char text[512];

    assert_int_equal(c.loaded + c.bad, 0);
    assert_int_equal(mkdir(f->path, 0700), 0);
    (void)load(f, false, SIMPLEX_E_SYSTEM, text);
    assert_non_null(strstr(text, f->path));
    assert_int_equal(rmdir(f->path), 0);
}

static void notifications_survive_and_their_damage_stops_nothing(void **state)
{
    struct fixture *f = *state;
    struct sx_errtext err = { NULL, 0 };
    struct sx_queue *q = add_queue(f->st, true);
    struct sx_msg_log_count c;
    struct sx_msg m = { .ts_ms = 1700000000000 };

    for (uint8_t i = 1; i <= 3; i++) {
        m.id[0] = i;
        assert_true(sx_notifier_add(q->ntf, &m));
    }
    assert_int_equal(sx_ntf_log_save(f->st, f->ntfs, &err), SIMPLEX_OK);
    sx_ntf_free(sx_notifier_take(f->st, q->ntf, m.ts_ms));
    FILE *file = fopen(f->ntfs, "a");
    assert_non_null(file);
    assert_true(fputs("v1 what is this\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(sx_ntf_log_load(f->st, f->ntfs, &c, &err), SIMPLEX_OK);
    assert_int_equal(c.loaded, 3);
    assert_int_equal(c.bad, 1);
    struct sx_ntf *list = sx_notifier_take(f->st, q->ntf, m.ts_ms);
    uint8_t i = 1;
    for (const struct sx_ntf *n = list; n != NULL; n = n->next, i++) {
        assert_int_equal(n->msg_id[0], i);
        assert_true(n->ts_ms == m.ts_ms);
    }
    assert_int_equal(i, 4);
    sx_ntf_free(list);
    sx_queue_unref(q);
}

/* A notifier keeps the last ones; the number is what is there, which a gauge begins with. */
static void notifications_beyond_those_that_are_kept_do_not_count(void **state)
{
    struct fixture *f = *state;
    struct sx_errtext err = { NULL, 0 };
    struct sx_queue *q = add_queue(f->st, true);
    struct sx_msg m = { .ts_ms = 1700000000000 };
    struct sx_msg_log_count c;

    for (int i = 0; i < SX_STORE_NTF_MAX; i++)
        assert_true(sx_notifier_add(q->ntf, &m));
    assert_int_equal(sx_ntf_log_save(f->st, f->ntfs, &err), SIMPLEX_OK);
    sx_ntf_free(sx_notifier_take(f->st, q->ntf, m.ts_ms));
    assert_true(sx_notifier_add(q->ntf, &m));
    assert_int_equal(sx_ntf_log_load(f->st, f->ntfs, &c, &err), SIMPLEX_OK);
    assert_int_equal(q->ntf->count, SX_STORE_NTF_MAX);
    assert_int_equal(c.loaded, SX_STORE_NTF_MAX - 1);
    sx_queue_unref(q);
}

static void loading_survives_each_failed_malloc(void **state)
{
    struct fixture *f = *state;
    struct sx_errtext err = { NULL, 0 };
    struct sx_msg_log_count c;
    unsigned nth = 0;
    simplex_rc rc;
    bool fired;

    write_file(f->path, MESSAGE "\n");
    do {
        sx_fault_malloc(nth++);
        rc = sx_msg_log_load(f->st, f->path, false, &c, &err);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
    } while (fired);
    assert_true(nth > 3);
}

int main(void)
{
#define WITH_FILES(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_messages_are_the_reference_s),
        cmocka_unit_test(other_lines_are_refused),
        cmocka_unit_test(a_body_that_no_block_can_carry_is_refused),
        WITH_FILES(what_was_saved_is_loaded_in_the_same_order),
        WITH_FILES(a_torn_last_line_is_left_out_and_damage_elsewhere_stops),
        WITH_FILES(a_missing_file_is_no_error_and_an_unreadable_one_is),
        WITH_FILES(notifications_survive_and_their_damage_stops_nothing),
        WITH_FILES(notifications_beyond_those_that_are_kept_do_not_count),
        WITH_FILES(loading_survives_each_failed_malloc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
