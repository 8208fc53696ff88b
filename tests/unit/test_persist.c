/* SPDX-License-Identifier: Apache-2.0 */
/* The queue store with a state directory: what cannot be recorded does not happen. */
#include "support/vec.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal_internal.h"
#include "persist.h"
#include "services.h"
#include "store_index.h"

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    (void)snprintf(dir, sizeof(dir), "/tmp/sx-persist-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return 0;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    return 0;
}

static simplex_rc open_as(const struct sx_persist_cfg *cfg, struct sx_store **out)
{
    struct sx_qstore_cfg store = { .quota = 4 };
    struct sx_errtext err = { NULL, 0 };

    simplex_rc rc = sx_qstore_open(&store, out);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_persist_open(cfg, *out, &err);
    if (rc != SIMPLEX_OK)
        sx_qstore_close(*out);
    return rc;
}

static simplex_rc open_state(enum sx_keep_messages messages, struct sx_store **out)
{
    return open_as(&(struct sx_persist_cfg){ .dir = dir, .messages = messages }, out);
}

static struct sx_store *open_store(void)
{
    struct sx_store *st;

    assert_int_equal(open_state(SX_KEEP_DISK, &st), SIMPLEX_OK);
    return st;
}

static enum sx_err create(struct sx_store *st, struct sx_queue **q)
{
    struct sx_queue_new n = { .mode = SX_MODE_CONTACT, .has_link = true, .has_ntf = true };

    n.rcv_key.alg = SX_ED25519;
    n.ntf_key.alg = SX_ED25519;
    n.fixed = sx_str("fixed");
    n.user = sx_str("user");
    return sx_qstore_create(st, &n, q);
}

static void wait_durable(struct sx_store *st)
{
    uint64_t stamp = sx_persist_stamp(st);

    assert_true(stamp > 0);
    sx_persist_request(st);
    for (int i = 0; i < 60000 && sx_persist_state(st, stamp) == SX_COMMIT_WAIT; i++)
        usleep(1000);
    assert_int_equal(sx_persist_state(st, stamp), SX_COMMIT_DURABLE);
}

static void changes_ask_their_answers_to_wait(void **state)
{
    struct sx_store *st = open_store();
    struct sx_queue *q;
    struct sx_pub key = { .alg = SX_ED25519 };
    bool first;

    (void)state;
    assert_int_equal(create(st, &q), SX_ERR_NONE);
    assert_true(q->staged);
    q->staged = false;
    sx_queue_lock(st, q);
    assert_int_equal(sx_queue_secure(st, q, &key), SX_ERR_NONE);
    assert_true(q->staged);
    q->staged = false;
    assert_int_equal(sx_queue_secure(st, q, &key), SX_ERR_NONE);
    assert_true(q->staged); /* it is OK as well: what it repeats may not be on disk yet */
    q->staged = false;
    assert_int_equal(sx_queue_del_link(st, q), SX_ERR_NONE);
    q->staged = false;
    assert_int_equal(sx_queue_del_link(st, q), SX_ERR_NONE);
    assert_true(q->staged);
    q->staged = false;
    assert_int_equal(sx_queue_push(st, q, sx_str("body"), false, 1, &first), SX_ERR_NONE);
    assert_true(q->staged);
    q->staged = false;
    assert_int_equal(sx_queue_pop(st, q, q->head->id), SX_ERR_NONE);
    assert_true(q->staged);
    q->staged = false;
    sx_persist_used(st, q, 1000); /* nobody waits for that */
    assert_false(q->staged);
    sx_queue_unlock(st, q);
    wait_durable(st);
    sx_queue_unref(q);
    sx_qstore_close(st);
}

static simplex_bytes two_keys(void)
{
    static uint8_t text[256];
    struct sx_keypair k;
    struct sx_wr w;

    sx_wr_fixed(&w, text, sizeof(text));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sx_keypair_new(SX_ED25519, &k), SIMPLEX_OK);
        sx_wr_key(&w, &k.pub);
    }
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

/* The notifier joins a service that is new. */
static enum sx_err associate(struct sx_store *st, struct sx_queue *q)
{
    static const uint8_t hash[32] = { 7 };
    struct sx_chain chain = { .count = 1, .cert = { sx_str("certificate") } };
    struct sx_service *svc = sx_service_enter(st, 'N', hash, &chain, 1700000000);

    return svc == NULL ? SX_ERR_INTERNAL : sx_queue_set_service(st, q, true, svc);
}

/* One change of q; what it is, by number. */
static enum sx_err change(struct sx_store *st, struct sx_queue *q, unsigned what)
{
    struct sx_pub key = { .alg = SX_ED25519 };
    struct sx_notifier *made;
    uint8_t secret[32] = { 1 };
    bool first;
    enum sx_err e;

    switch (what) {
    case 0:
        return sx_queue_push(st, q, sx_str("body"), true, 1, &first);
    case 1:
        return q->head == NULL ? SX_ERR_NONE : sx_queue_pop(st, q, q->head->id);
    case 2:
        return sx_queue_secure(st, q, &key);
    case 3:
        return sx_queue_set_link(st, q, sx_bytes(q->link->node.id, SX_ID_LEN), sx_str("fixed"),
                                 sx_str("other"));
    case 4:
        e = sx_queue_make_notifier(st, q, &key, secret, &made);
        if (e == SX_ERR_NONE)
            sx_queue_put_notifier(st, q, made);
        return e;
    case 5:
        return sx_queue_set_status(st, q, SX_Q_OFF, 0);
    case 6:
        return sx_queue_del_link(st, q);
    case 7:
        return sx_queue_set_keys(st, q, two_keys(), 2);
    case 8:
        return sx_queue_block(st, q, &(struct sx_smp_err){ .blocked = SX_BLOCKED_SPAM });
    case 9:
        return associate(st, q);
    case 10:
        e = sx_queue_record_del_notifier(st, q);
        if (e == SX_ERR_NONE)
            sx_queue_del_notifier(st, q);
        return e;
    default:
        return sx_queue_record_delete(st, q);
    }
}

#define CHANGES 12

/* Each of them, when it was made, makes the answer of its command wait for the disk. */
static void every_change_asks_its_answer_to_wait(void **state)
{
    struct sx_store *st = open_store();
    struct sx_queue *q;

    (void)state;
    assert_int_equal(create(st, &q), SX_ERR_NONE);
    assert_true(q->staged);
    sx_queue_lock(st, q);
    for (unsigned what = 0; what < CHANGES; what++) {
        q->staged = false;
        assert_int_equal(change(st, q, what), SX_ERR_NONE);
        if (!q->staged)
            fail_msg("change %u", what);
    }
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
    sx_qstore_close(st);
}

/* Another connection of the service may have been a moment faster. */
static void a_repeated_association_waits_for_the_first(void **state)
{
    struct sx_store *st = open_store();
    struct sx_queue *q;

    (void)state;
    assert_int_equal(create(st, &q), SX_ERR_NONE);
    sx_queue_lock(st, q);
    assert_int_equal(associate(st, q), SX_ERR_NONE);
    q->staged = false;
    assert_int_equal(associate(st, q), SX_ERR_NONE);
    assert_true(q->staged);
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
    sx_qstore_close(st);
}

static void assert_unchanged(const struct sx_queue *q, const struct sx_queue *before)
{
    assert_int_equal(q->count, before->count);
    assert_ptr_equal(q->head, before->head);
    assert_int_equal(q->snd_key.alg, before->snd_key.alg);
    assert_ptr_equal(q->link, before->link);
    assert_ptr_equal(q->ntf, before->ntf);
    assert_int_equal(q->status, before->status);
}

static void what_cannot_be_recorded_does_not_happen(void **state)
{
    struct sx_store *st = open_store();
    struct sx_queue *q;
    unsigned faults = 0;

    (void)state;
    assert_int_equal(create(st, &q), SX_ERR_NONE);
    for (unsigned what = 0; what < CHANGES; what++) {
        enum sx_err e = SX_ERR_INTERNAL;
        for (unsigned nth = 0; e == SX_ERR_INTERNAL; nth++) {
            assert_true(nth < 50);
            wait_durable(st); /* the committing thread shall not meet the fault */
            sx_queue_lock(st, q);
            struct sx_queue before = *q;
            sx_fault_malloc(nth);
            e = change(st, q, what);
            faults += sx_fault_disarm();
            if (e != SX_ERR_NONE) {
                assert_int_equal(e, SX_ERR_INTERNAL);
                assert_unchanged(q, &before);
            }
            sx_queue_unlock(st, q);
        }
    }
    assert_true(faults > 4);
    sx_queue_unref(q);
    sx_qstore_close(st);
}

static void opening_survives_each_failed_malloc(void **state)
{
    struct sx_store *st = open_store();
    struct sx_queue *q;
    uint8_t rid[SX_ID_LEN];
    bool first, fired = true;

    (void)state;
    assert_int_equal(create(st, &q), SX_ERR_NONE);
    memcpy(rid, q->rcv.id, sizeof(rid));
    sx_queue_lock(st, q);
    assert_int_equal(sx_queue_push(st, q, sx_str("body"), false, 1, &first), SX_ERR_NONE);
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
    sx_qstore_close(st);
    for (unsigned nth = 0; fired; nth += 1 + nth / 20) { /* most are for the index's 64 parts */
        assert_true(nth < 5000);
        sx_fault_malloc(nth);
        simplex_rc rc = open_state(SX_KEEP_DISK, &st);
        fired = sx_fault_disarm();
        if (rc != SIMPLEX_OK) {
            assert_true(fired);
            assert_int_equal(rc, SIMPLEX_E_NOMEM);
            continue;
        }
        q = sx_qstore_find(st, SX_BY_RCV, sx_bytes(rid, sizeof(rid)));
        assert_non_null(q);
        assert_int_equal(q->count, 1); /* nothing was lost by the attempts before */
        sx_queue_unref(q);
        sx_qstore_close(st);
    }
}

static unsigned lines_of(const char *name)
{
    char path[128];
    unsigned n = 0;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return 0;
    for (int c; (c = fgetc(f)) != EOF;)
        n += c == '\n';
    assert_int_equal(fclose(f), 0);
    return n;
}

/* Our journal has a message, then the reference ran on the same queues and has left its file. */
static void leave_journal_and_file(uint8_t rid[SX_ID_LEN])
{
    struct sx_store *st = open_store();
    struct sx_queue *q;
    struct sx_wr w;
    char path[128], id[40] = "";
    bool first;

    assert_int_equal(create(st, &q), SX_ERR_NONE);
    memcpy(rid, q->rcv.id, SX_ID_LEN);
    sx_queue_lock(st, q);
    assert_int_equal(sx_queue_push(st, q, sx_str("in the journal"), false, 1, &first), SX_ERR_NONE);
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
    sx_qstore_close(st);

    sx_wr_fixed(&w, id, sizeof(id) - 1);
    sx_b64url_encode(&w, sx_bytes(rid, SX_ID_LEN));
    (void)snprintf(path, sizeof(path), "%s/smp-server-messages.log", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(
        fprintf(f, "v3 %s ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3 1700000000 flags=F aGVsbG8=\n", id) > 0);
    assert_int_equal(fclose(f), 0);
}

static void assert_both(struct sx_store *st, const uint8_t rid[SX_ID_LEN])
{
    struct sx_queue *q = sx_qstore_find(st, SX_BY_RCV, sx_bytes(rid, SX_ID_LEN));

    assert_non_null(q);
    assert_int_equal(q->count, 2);
    assert_true(sx_bytes_eq(sx_bytes(q->head->body, q->head->len), sx_str("in the journal")));
    assert_true(sx_bytes_eq(sx_bytes(q->tail->body, q->tail->len), sx_str("hello")));
    sx_queue_unref(q);
}

static void leaving_the_journal_keeps_what_the_file_has(void **state)
{
    uint8_t rid[SX_ID_LEN];
    struct sx_store *st;

    (void)state;
    leave_journal_and_file(rid);
    assert_int_equal(open_state(SX_KEEP_MEMORY, &st), SIMPLEX_OK);
    assert_both(st, rid);
    sx_qstore_close(st);
    assert_int_equal(lines_of("smp-server-messages.log"), 2);
    st = open_store(); /* and back */
    assert_both(st, rid);
    sx_qstore_close(st);
}

static void rename_in_dir(const char *from, const char *to)
{
    char a[128], b[128];

    (void)snprintf(a, sizeof(a), "%s/%s", dir, from);
    (void)snprintf(b, sizeof(b), "%s/%s", dir, to);
    assert_int_equal(rename(a, b), 0);
}

/* As when a backup was restored in part: each message would be one of a queue that is gone. */
static void a_missing_log_of_queues_does_not_cost_the_messages(void **state)
{
    static const enum sx_keep_messages kept[] = { SX_KEEP_DISK, SX_KEEP_MEMORY };
    char text[512] = "";
    struct sx_errtext err = { text, sizeof(text) };
    uint8_t rid[SX_ID_LEN];
    struct sx_store *st;

    (void)state;
    leave_journal_and_file(rid);
    rename_in_dir("smp-server-store.log", "moved");
    for (size_t i = 0; i < SX_COUNT(kept); i++) { /* nor is one made that hides it the next time */
        struct sx_persist_cfg cfg = { .dir = dir, .messages = kept[i] };
        assert_int_equal(sx_qstore_open(&(struct sx_qstore_cfg){ .quota = 4 }, &st), SIMPLEX_OK);
        assert_int_equal(sx_persist_open(&cfg, st, &err), SIMPLEX_E_DB_DAMAGED);
        sx_qstore_close(st);
        assert_non_null(strstr(text, "/smp-server-store.log is missing"));
        assert_non_null(strstr(text, "/smp-server-journal there may be messages"));
    }
    rename_in_dir("smp-server-journal", "elsewhere");
    assert_int_equal(open_state(SX_KEEP_DISK, &st), SIMPLEX_E_DB_DAMAGED); /* the other file */
    rename_in_dir("elsewhere", "smp-server-journal");
    rename_in_dir("moved", "smp-server-store.log.start"); /* as an interrupted start leaves it */
    st = open_store();
    assert_both(st, rid);
    sx_qstore_close(st);
    rename_in_dir("smp-server-store.log", "moved");
    struct sx_persist_cfg without = { .dir = dir, .messages = SX_KEEP_DISK, .skip_damage = true };
    assert_int_equal(open_as(&without, &st), SIMPLEX_OK);
    sx_qstore_close(st);
}

static const char *in_dir(const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void remove_in_dir(const char *what)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf '%s/%s'", dir, what);
    assert_int_equal(system(command), 0);
}

/* As when the disk was full to which a backup was restored. */
static void an_empty_log_of_queues_does_not_cost_the_messages(void **state)
{
    uint8_t rid[SX_ID_LEN];
    struct sx_store *st;

    (void)state;
    leave_journal_and_file(rid);
    rename_in_dir("smp-server-store.log", "whole");
    FILE *f = fopen(in_dir("smp-server-store.log"), "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    for (unsigned i = 0; i < 3; i++) { /* nor do the starts after the first */
        st = open_store();
        assert_int_equal(sx_qstore_messages(st), 0);
        sx_qstore_close(st);
    }
    remove_in_dir("smp-server-journal");
    rename_in_dir("smp-server-journal.bak", "smp-server-journal");
    rename_in_dir("smp-server-messages.log.bak", "smp-server-messages.log");
    rename_in_dir("whole", "smp-server-store.log");
    st = open_store();
    assert_both(st, rid);
    sx_qstore_close(st);
}

static void maintenance_keeps_the_file_of_messages_that_it_leaves_out(void **state)
{
    struct sx_persist_cfg cfg = { .dir = dir, .messages = SX_KEEP_MEMORY, .offline = true };
    uint8_t rid[SX_ID_LEN];
    struct sx_store *st;

    (void)state;
    leave_journal_and_file(rid);
    remove_in_dir("smp-server-journal");
    assert_int_equal(open_as(&cfg, &st), SIMPLEX_OK); /* nothing is left out */
    sx_qstore_close(st);
    assert_int_equal(access(in_dir("smp-server-messages.log.bak"), F_OK), -1);
    assert_int_equal(truncate(in_dir("smp-server-store.log"), 0), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(open_as(&cfg, &st), SIMPLEX_OK);
        sx_qstore_close(st);
        assert_int_equal(lines_of("smp-server-messages.log"), 0);
        assert_int_equal(lines_of("smp-server-messages.log.bak"), 1);
    }
}

static void damage(const char *name, long at)
{
    FILE *f = fopen(in_dir(name), "r+b");

    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fputc(c ^ 1, f), c ^ 1);
    assert_int_equal(fclose(f), 0);
}

/* More than is copied out of a file at a time. */
static void leave_large_journal(unsigned messages)
{
    static uint8_t body[16000];
    struct sx_store *st = open_store();
    struct sx_queue *q;
    bool first;

    for (unsigned i = 0; i < messages; i++) {
        assert_int_equal(create(st, &q), SX_ERR_NONE);
        sx_queue_lock(st, q);
        assert_int_equal(sx_queue_push(st, q, sx_bytes(body, sizeof(body)), false, 1, &first),
                         SX_ERR_NONE);
        sx_queue_unlock(st, q);
        sx_queue_unref(q);
    }
    sx_qstore_close(st);
}

static void maintenance_leaves_damage_out_for_good(void **state)
{
    struct sx_persist_cfg cfg = {
        .dir = dir, .messages = SX_KEEP_DISK, .offline = true, .skip_damage = true
    };
    struct sx_store *st;

    (void)state;
    leave_large_journal(200);
    damage("smp-server-journal/0000000001.seg", 100);
    assert_int_equal(open_state(SX_KEEP_DISK, &st), SIMPLEX_E_DB_DAMAGED);
    assert_int_equal(open_as(&cfg, &st), SIMPLEX_OK);
    sx_qstore_close(st);
    st = open_store();
    assert_int_equal(sx_qstore_messages(st), 199);
    sx_qstore_close(st);
}

static void without_restoring_messages_what_is_kept_stays_as_it_is(void **state)
{
    uint8_t rid[SX_ID_LEN];
    struct sx_store *st;

    (void)state;
    leave_journal_and_file(rid);
    assert_int_equal(open_state(SX_KEEP_NOT, &st), SIMPLEX_OK);
    assert_int_equal(sx_qstore_queues(st), 1);
    assert_int_equal(sx_qstore_messages(st), 0);
    sx_qstore_close(st);
    assert_int_equal(lines_of("smp-server-messages.log"), 1);
    st = open_store();
    assert_both(st, rid);
    sx_qstore_close(st);
}

static void a_directory_that_cannot_be_made_is_named(void **state)
{
    char path[96], text[512] = "";
    struct sx_qstore_cfg store = { .quota = 4 };
    struct sx_persist_cfg cfg = { .dir = path };
    struct sx_errtext err = { text, sizeof(text) };
    struct sx_store *st;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/no/such/place", dir);
    assert_int_equal(sx_qstore_open(&store, &st), SIMPLEX_OK);
    assert_int_equal(sx_persist_open(&cfg, st, &err), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(text, path));
    sx_qstore_close(st);
}

static void a_start_that_fails_leaves_the_messages_where_the_next_one_finds_them(void **state)
{
    char obstacle[128];
    uint8_t rid[SX_ID_LEN];
    struct sx_store *st;
    struct sx_queue *q;
    bool first;

    (void)state;
    assert_int_equal(open_state(SX_KEEP_MEMORY, &st), SIMPLEX_OK);
    assert_int_equal(create(st, &q), SX_ERR_NONE);
    memcpy(rid, q->rcv.id, sizeof(rid));
    sx_queue_lock(st, q);
    assert_int_equal(sx_queue_push(st, q, sx_str("body"), false, 1, &first), SX_ERR_NONE);
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
    sx_qstore_close(st);
    (void)snprintf(obstacle, sizeof(obstacle), "%s/smp-server-ntfs.log.bak", dir);
    assert_int_equal(mkdir(obstacle, 0700), 0);
    assert_int_not_equal(open_state(SX_KEEP_MEMORY, &st), SIMPLEX_OK);
    assert_int_equal(rmdir(obstacle), 0);
    assert_int_equal(open_state(SX_KEEP_MEMORY, &st), SIMPLEX_OK);
    q = sx_qstore_find(st, SX_BY_RCV, sx_bytes(rid, sizeof(rid)));
    assert_non_null(q);
    assert_int_equal(q->count, 1);
    sx_queue_unref(q);
    sx_qstore_close(st);
}

/* No file of ours can be longer than this. */
static void limit_files(rlim_t bytes)
{
    struct rlimit r;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes < r.rlim_max ? bytes : r.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* A start that ended after it had written messages to the journal and before it retired their
 * file. */
static void interrupt_the_import(uint8_t rid[SX_ID_LEN])
{
    char in_the_way[128];
    struct sx_store *st;

    leave_journal_and_file(rid);
    (void)snprintf(in_the_way, sizeof(in_the_way), "%s/smp-server-messages.log.bak", dir);
    assert_int_equal(mkdir(in_the_way, 0700), 0);
    assert_int_equal(open_state(SX_KEEP_DISK, &st), SIMPLEX_E_SYSTEM);
    assert_int_equal(rmdir(in_the_way), 0);
    assert_int_equal(lines_of("smp-server-messages.log"), 1);
}

/* Whether that start has synced the journal nobody knows: with a disk that cannot do it now, the
 * file is all there is for sure. */
static void a_file_is_not_retired_when_the_journal_that_has_it_cannot_be_written(void **state)
{
    uint8_t rid[SX_ID_LEN];
    struct sx_store *st;

    (void)state;
    interrupt_the_import(rid);
    limit_files(SX_JOURNAL_SEGMENT - 1); /* as on a full disk, there is no room for a segment */
    simplex_rc rc = open_state(SX_KEEP_DISK, &st);
    limit_files(RLIM_INFINITY);
    assert_int_equal(rc, SIMPLEX_E_DB_FULL);
    assert_int_equal(lines_of("smp-server-messages.log"), 1);
    st = open_store(); /* there is room again */
    assert_both(st, rid);
    sx_qstore_close(st);
    assert_int_equal(lines_of("smp-server-messages.log"), 0);
    assert_int_equal(lines_of("smp-server-messages.log.bak"), 1);
    st = open_store(); /* without the file */
    assert_both(st, rid);
    sx_qstore_close(st);
}

/* An export by `messages export` or `start --maintenance`, killed at any moment. */
static void messages_on_their_way_to_the_file_are_in_it_all_the_time(void **state)
{
    const struct sx_persist_cfg cfg = { .dir = dir, .messages = SX_KEEP_MEMORY, .offline = true };
    uint8_t rid[SX_ID_LEN];
    struct sx_store *st;

    (void)state;
    leave_journal_and_file(rid);
    for (int i = 0; i < 2; i++) { /* from the journal and the file, then from the file alone */
        assert_int_equal(open_as(&cfg, &st), SIMPLEX_OK);
        assert_int_equal(lines_of("smp-server-messages.log"), 2);
        assert_both(st, rid);
        sx_qstore_close(st);
        assert_int_equal(lines_of("smp-server-messages.log"), 2);
    }
    st = open_store();
    assert_both(st, rid);
    sx_qstore_close(st);
}

/* One queue with so many messages of this size, in the file of messages. */
static void save_messages(uint8_t rid[SX_ID_LEN], unsigned n, size_t size)
{
    static uint8_t body[SX_BODY_MAX];
    struct sx_store *st;
    struct sx_queue *q;

    assert_int_equal(open_state(SX_KEEP_MEMORY, &st), SIMPLEX_OK);
    assert_int_equal(create(st, &q), SX_ERR_NONE);
    memcpy(rid, q->rcv.id, SX_ID_LEN);
    sx_queue_lock(st, q);
    for (unsigned i = 0; i < n; i++) {
        struct sx_msg *m = sx_msg_new(sx_bytes(body, size), 1000);
        assert_non_null(m);
        sx_random(m->id, sizeof(m->id));
        sx_queue_restore(st, q, m);
    }
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
    sx_qstore_close(st);
    assert_int_equal(lines_of("smp-server-messages.log"), n);
}

/* Files of the journal are made ahead, but only so many. */
static void a_file_may_hold_more_messages_than_the_journal_makes_room_for_at_once(void **state)
{
    const struct sx_persist_cfg cfg = { .dir = dir,
                                        .messages = SX_KEEP_DISK,
                                        .journal_segment = SX_SEGMENT_MIN };
    const unsigned n = 350; /* 5 MB; 65 segments have 4 MB */
    uint8_t rid[SX_ID_LEN];
    struct sx_store *st;

    (void)state;
    save_messages(rid, n, 15000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(open_as(&cfg, &st), SIMPLEX_OK);
        struct sx_queue *q = sx_qstore_find(st, SX_BY_RCV, sx_bytes(rid, SX_ID_LEN));
        assert_non_null(q);
        assert_int_equal(q->count, n);
        sx_queue_unref(q);
        sx_qstore_close(st);
    }
    assert_int_equal(lines_of("smp-server-messages.log"), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(changes_ask_their_answers_to_wait),
        T(every_change_asks_its_answer_to_wait),
        T(a_repeated_association_waits_for_the_first),
        T(what_cannot_be_recorded_does_not_happen),
        T(opening_survives_each_failed_malloc),
        T(leaving_the_journal_keeps_what_the_file_has),
        T(a_missing_log_of_queues_does_not_cost_the_messages),
        T(an_empty_log_of_queues_does_not_cost_the_messages),
        T(maintenance_keeps_the_file_of_messages_that_it_leaves_out),
        T(maintenance_leaves_damage_out_for_good),
        T(without_restoring_messages_what_is_kept_stays_as_it_is),
        T(a_directory_that_cannot_be_made_is_named),
        T(a_start_that_fails_leaves_the_messages_where_the_next_one_finds_them),
        T(a_file_is_not_retired_when_the_journal_that_has_it_cannot_be_written),
        T(messages_on_their_way_to_the_file_are_in_it_all_the_time),
        T(a_file_may_hold_more_messages_than_the_journal_makes_room_for_at_once),
    };

    (void)signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
