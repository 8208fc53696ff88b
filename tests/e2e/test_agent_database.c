/* SPDX-License-Identifier: Apache-2.0 */
/* The database from the agent's side: backups while it works, restoring, reading only, locks. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/agents.h"

#define PASSWORD sx_str("password of the backup")

static void copy_path(const struct duo *d, char path[300])
{
    (void)snprintf(path, 300, "%s/copy.db", d->dir);
}

static size_t connections(const simplex_agent_config *cfg)
{
    simplex_agent_config own = *cfg;
    int64_t ids[16];
    size_t n = 16;
    simplex_agent *a;

    own.read_only = true;
    assert_int_equal(simplex_agent_open(&own, &a), SIMPLEX_OK);
    assert_int_equal(simplex_agent_connections(a, 0, ids, &n), SIMPLEX_OK);
    assert_int_equal(simplex_agent_close(a), SIMPLEX_OK);
    return n;
}

static simplex_rc restore(const struct duo *d, const struct test_agent *t)
{
    char path[300];

    copy_path(d, path);
    return simplex_agent_restore(path, PASSWORD, false, t->db, t->cfg.db_key, t->cfg.db_raw_key);
}

/* What was restored sends nothing before it has a new ratchet. */
static void synchronise(struct duo *d)
{
    simplex_event *ev = wait_event(&d->i, SIMPLEX_EV_RSYNC, d->ic);

    assert_int_equal(simplex_event_sync_state(ev), SIMPLEX_SYNC_REQUIRED);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_DB_OLD);
    simplex_event_free(ev);
    assert_int_equal(simplex_agent_sync_ratchet(d->i.a, d->ic, false), SIMPLEX_OK);
    for (int n = 0; n < 2; n++) { /* agreed, ok */
        expect(&d->i, SIMPLEX_EV_RSYNC, d->ic);
        expect(&d->j, SIMPLEX_EV_RSYNC, d->jc);
    }
}

static void a_backup_continues_where_the_agent_was(void **state)
{
    char path[300], age[320];
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    talk(&d.i, d.ic, &d.j, d.jc, "before");
    copy_path(&d, path);
    assert_int_equal(simplex_agent_backup(d.i.a, path, PASSWORD, false), SIMPLEX_OK);
    assert_int_equal(simplex_agent_backup(d.i.a, path, PASSWORD, false), SIMPLEX_E_PROHIBITED);
    agent_close(&d.i);
    assert_int_equal(unlink(d.i.db), 0); /* lost, with all that is beside it */
    (void)snprintf(age, sizeof age, "%s-age", d.i.db);
    assert_int_equal(unlink(age), 0);
    assert_int_equal(restore(&d, &d.i), SIMPLEX_OK);
    agent_reopen(&d.i);
    synchronise(&d);
    talk(&d.i, d.ic, &d.j, d.jc, "after");
    talk(&d.j, d.jc, &d.i, d.ic, "also");
    duo_close(&d);
}

static void a_copy_with_its_own_password_can_be_opened_as_it_is(void **state)
{
    char path[300];
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    copy_path(&d, path);
    assert_int_equal(simplex_agent_backup(d.i.a, path, PASSWORD, false), SIMPLEX_OK);
    simplex_agent_config cfg = d.i.cfg;
    cfg.db_path = path;
    simplex_agent *a;
    assert_int_equal(simplex_agent_open(&cfg, &a), SIMPLEX_E_DB_KEY);
    cfg.db_key = PASSWORD;
    cfg.db_raw_key = false;
    assert_int_equal(connections(&cfg), 1);
    duo_close(&d);
}

struct talking {
    struct duo *d;
    bool stop;
};

static void *keep_talking(void *arg)
{
    struct talking *x = arg;

    while (!__atomic_load_n(&x->stop, __ATOMIC_RELAXED))
        talk(&x->d->i, x->d->ic, &x->d->j, x->d->jc, "all the while");
    return NULL;
}

static void backups_are_whole_while_messages_come_and_go(void **state)
{
    struct talking x = { 0 };
    char path[300];
    pthread_t thread;
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    x.d = &d;
    assert_int_equal(pthread_create(&thread, NULL, keep_talking, &x), 0);
    copy_path(&d, path);
    simplex_agent_config cfg = d.j.cfg;
    cfg.db_path = path;
    for (int n = 0; n < 10; n++) { /* with a raw key: no time goes into deriving one */
        assert_int_equal(simplex_agent_backup(d.j.a, path, cfg.db_key, true), SIMPLEX_OK);
        assert_int_equal(connections(&cfg), 1);
        assert_int_equal(unlink(path), 0);
    }
    __atomic_store_n(&x.stop, true, __ATOMIC_RELAXED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    duo_close(&d);
}

static void a_restoration_replaces_and_keeps_the_key(void **state)
{
    int64_t i2, j2;
    char path[300];
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    copy_path(&d, path);
    assert_int_equal(simplex_agent_backup(d.i.a, path, PASSWORD, false), SIMPLEX_OK);
    connect_agents(&d.i, &d.j, SIMPLEX_PQ_OFF, &i2, &j2);
    assert_int_equal(restore(&d, &d.i), SIMPLEX_E_DB_LOCKED); /* the agent is open */
    agent_close(&d.i);
    simplex_agent_config cfg = d.i.cfg;
    cfg.db_path = d.i.db;
    assert_int_equal(connections(&cfg), 2);
    assert_int_equal(
        simplex_agent_restore(path, sx_str("wrong"), false, d.i.db, d.i.cfg.db_key, true),
        SIMPLEX_E_DB_KEY);
    assert_int_equal(simplex_agent_restore(path, PASSWORD, false, d.i.db, sx_str("wrong"), false),
                     SIMPLEX_E_DB_KEY);
    assert_int_equal(connections(&cfg), 2);
    assert_int_equal(restore(&d, &d.i), SIMPLEX_OK);
    assert_int_equal(connections(&cfg), 1);
    agent_reopen(&d.i);
    synchronise(&d);
    talk(&d.i, d.ic, &d.j, d.jc, "again");
    duo_close(&d);
}

static void wrong_arguments_do_nothing(void **state)
{
    simplex_bytes none = { 0 }, key = sx_str("0123456789abcdef0123456789abcdef");
    char path[300];
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    copy_path(&d, path);
    assert_int_equal(simplex_agent_backup(NULL, path, key, true), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_backup(d.i.a, NULL, key, true), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_backup(d.i.a, "", key, true), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_backup(d.i.a, path, none, false), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_backup(d.i.a, path, sx_str("short"), true), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_backup(d.i.a, "/nonexistent/x", key, true), SIMPLEX_E_DB_IO);
    assert_int_equal(simplex_agent_backup(d.i.a, d.i.db, key, true), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_restore(NULL, key, true, path, key, true), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_restore(path, none, true, path, key, true), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_restore(path, key, true, NULL, key, true), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_restore(path, key, true, path, none, false), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_restore(path, key, true, d.i.db, key, true), SIMPLEX_E_DB_IO);
    assert_int_equal(simplex_agent_restore(path, key, true, path, key, true), SIMPLEX_E_ARG);
    assert_int_equal(access(path, F_OK), -1);
    duo_close(&d);
}

static void who_only_reads_sees_all_and_changes_nothing(void **state)
{
    simplex_connection_info info = { .size = sizeof info };
    uint8_t before[32], code[32];
    char path[300], link[2000];
    int64_t id;
    size_t len = sizeof link;
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    assert_int_equal(simplex_agent_security_code(d.i.a, d.ic, before, NULL), SIMPLEX_OK);
    send_text(&d.j, d.jc, "waits");
    d.i.cfg.read_only = true;
    agent_reopen(&d.i);
    assert_int_equal(simplex_agent_security_code(d.i.a, d.ic, code, NULL), SIMPLEX_OK);
    assert_memory_equal(before, code, 32);
    assert_int_equal(simplex_agent_connection(d.i.a, d.ic, &info), SIMPLEX_OK);
    assert_int_equal(info.state, SIMPLEX_CONN_READY);
    assert_false(info.subscribed);
    assert_int_equal(simplex_agent_link(d.i.a, d.ic, link, &len), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_send(d.i.a, d.ic, sx_str("x"), 0, &id), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &id), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_ack(d.i.a, d.ic, 1), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, true), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_rekey(d.i.a, sx_str("new"), false), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_reconnect(d.i.a), SIMPLEX_OK);
    copy_path(&d, path);
    assert_int_equal(simplex_agent_backup(d.i.a, path, PASSWORD, false), SIMPLEX_OK);
    simplex_event *ev;
    assert_int_equal(simplex_agent_next_event(d.i.a, 300, &ev), SIMPLEX_E_NO_EVENT);
    d.i.cfg.read_only = false;
    agent_reopen(&d.i);
    receive_text(&d.i, d.ic, "waits");
    agent_close(&d.i);
    d.i.cfg.read_only = true;
    d.i.cfg.db_path = "/nonexistent/db";
    assert_int_equal(simplex_agent_open(&d.i.cfg, &d.i.a), SIMPLEX_E_DB_IO);
    duo_close(&d);
}

/* ---- one agent a database ---- */

/* A fresh process: a copy of this one would hold the locks that its other threads held. */
static int open_in_child(const simplex_agent_config *cfg)
{
    const char *const argv[] = { "test", "--open", cfg->db_path, cfg->read_only ? "ro" : "rw",
                                 NULL };
    int status = -1;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return -500 - WEXITSTATUS(status);
}

/* What that process does: the result of opening as its status. */
static int open_and_tell(const char *path, bool read_only)
{
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = path,
                                 .db_key = sx_str(AGENT_KEY),
                                 .db_raw_key = true,
                                 .read_only = read_only };
    simplex_agent *a;

    return -simplex_agent_open(&cfg, &a) - 500;
}

static void a_second_agent_is_refused_and_harms_nothing(void **state)
{
    simplex_agent *a;
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    for (int n = 0; n < 3; n++) {
        assert_int_equal(simplex_agent_open(&d.i.cfg, &a), SIMPLEX_E_DB_LOCKED);
        assert_int_equal(open_in_child(&d.i.cfg), SIMPLEX_E_DB_LOCKED);
        simplex_agent_config only = d.i.cfg;
        only.read_only = true;
        assert_int_equal(open_in_child(&only), SIMPLEX_E_DB_LOCKED);
        talk(&d.i, d.ic, &d.j, d.jc, "undisturbed");
    }
    agent_reopen(&d.i);
    talk(&d.j, d.jc, &d.i, d.ic, "whole");
    duo_close(&d);
}

/* ---- in the callback ---- */

struct caller {
    simplex_agent *a;
    char path[300];
    simplex_rc rc;
    bool seen;
};

static void on_event(void *user, const simplex_event *ev)
{
    struct caller *x = user;

    if (simplex_event_kind(ev) != SIMPLEX_EV_INV)
        return;
    x->rc = simplex_agent_backup(x->a, x->path, PASSWORD, false);
    __atomic_store_n(&x->seen, true, __ATOMIC_RELEASE);
}

static void a_backup_can_be_made_in_the_callback(void **state)
{
    struct caller x = { 0 };
    struct duo d;
    int64_t conn;

    (void)state;
    duo_open(&d, NULL);
    copy_path(&d, x.path);
    agent_close(&d.i);
    d.i.cfg.on_event = on_event;
    d.i.cfg.user = &x;
    assert_int_equal(simplex_agent_open(&d.i.cfg, &x.a), SIMPLEX_OK);
    d.i.a = x.a;
    assert_int_equal(simplex_agent_create(x.a, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    for (int ms = 0; ms < WAIT_MS && !__atomic_load_n(&x.seen, __ATOMIC_ACQUIRE); ms += 10)
        usleep(10000);
    assert_true(__atomic_load_n(&x.seen, __ATOMIC_ACQUIRE));
    assert_int_equal(x.rc, SIMPLEX_OK);
    agent_close(&d.i);
    simplex_agent_config cfg = d.j.cfg;
    cfg.db_path = x.path;
    cfg.db_key = PASSWORD;
    cfg.db_raw_key = false;
    assert_int_equal(connections(&cfg), 1);
    duo_close(&d);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--open") == 0)
        return open_and_tell(argv[2], strcmp(argv[3], "ro") == 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_continues_where_the_agent_was),
        cmocka_unit_test(a_copy_with_its_own_password_can_be_opened_as_it_is),
        cmocka_unit_test(backups_are_whole_while_messages_come_and_go),
        cmocka_unit_test(a_restoration_replaces_and_keeps_the_key),
        cmocka_unit_test(wrong_arguments_do_nothing),
        cmocka_unit_test(who_only_reads_sees_all_and_changes_nothing),
        cmocka_unit_test(a_second_agent_is_refused_and_harms_nothing),
        cmocka_unit_test(a_backup_can_be_made_in_the_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
